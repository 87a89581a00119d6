/// Where on its way a message or a reading was set aside.
package enum Stage: String, Sendable, Hashable, CaseIterable {
  /// The payload could not be read as what the configuration says it is.
  case decode
  /// The reading breaks its contract: its schema or an expectation.
  case contract
  /// An expression of the pipeline could not be worked out for the reading.
  case transform
  /// The reading came too late for its window.
  case window
  /// The upstream refused the reading for good.
  case upstream
}

/// A message or a reading that was refused, the stage and the rule that refused it, and why, in words
/// for people.
package struct Rejection: Sendable, Hashable {
  package var stage: Stage
  /// A short constant name, for filters and counts: `json.syntax`, `time.range`, `upstream.422`.
  package var rule: String
  /// What is wrong and where, for people. Holds no payload bytes.
  package var reason: String
  package var origin: Origin
  package var log: LogID
  package var offset: Offset
  package var received: Moment
  /// The bytes that were refused: the device's payload at ``Stage/decode``, the encoded reading at every
  /// stage behind it.
  package var payload: [UInt8]
  /// Which reading of its message it was, from 0; nil where the message was refused as a whole.
  package var reading: Int?
  /// The pipeline masks fields, and these bytes hold them as they came: they are not kept (`payload` is empty), and
  /// are looked for in the log when the dead letter is put back.
  package var isWithheld: Bool

  package init(
    stage: Stage, rule: String, reason: String, origin: Origin, log: LogID, offset: Offset,
    received: Moment, payload: [UInt8], reading: Int? = nil, isWithheld: Bool = false
  ) {
    self.stage = stage
    self.rule = rule
    self.reason = reason
    self.origin = origin
    self.log = log
    self.offset = offset
    self.received = received
    self.payload = payload
    self.reading = reading
    self.isWithheld = isWithheld
  }
}
