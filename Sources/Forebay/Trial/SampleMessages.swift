internal import FoundationEssentials
internal import Pipeline
internal import Spool
internal import Telemetry

/// Messages that somebody has in a file, as records of a log that is none.
enum SampleMessages {
  static let log = LogID(rawValue: "sample")
  /// Bytes of a file, which is read whole.
  private static let limit = 256 << 20

  struct Fault: Error, CustomStringConvertible {
    var description: String
  }

  /// One line of a file of messages, as `forebay log export` writes them.
  private struct Line: Decodable {
    var source: String?
    var topic: String
    var payload: String?
    var payloadBase64: String?
    var received: String?
    var clockSynchronised: Bool?
    var qos: UInt8?
    var retained: Bool?
  }

  /// - Parameters:
  ///   - path: `-` for standard input.
  ///   - topic: the file is one payload that came on this topic; nil: it is NDJSON, a message a line.
  ///   - source: of messages that name none.
  ///   - now: when messages came that do not say it.
  static func read(_ path: String, topic: String?, source: String, now: Moment) throws -> [Record] {
    return try records(try GivenFile.read(path, limit: limit), shownAs: path, topic: topic, source: source, now: now)
  }

  static func records(
    _ bytes: [UInt8], shownAs path: String, topic: String?, source: String, now: Moment
  ) throws -> [Record] {
    if let topic {
      let origin = Origin(source: source, topic: topic)
      return [Record(offset: Offset(0), message: message(origin, bytes, received: now))]
    }
    var records: [Record] = []
    for (index, text) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
      guard text.contains(where: { $0 != 0x20 && $0 != 0x0D }) else { continue }
      func fault(_ reason: String) -> Fault {
        Fault(
          description: "\(path):\(index + 1): \(reason); a line is {\"topic\":…,\"payload\":…} or has payloadBase64 "
            + "instead, or name the one --topic that the whole file came on")
      }
      let line: Line
      do { line = try JSONDecoder().decode(Line.self, from: Data(text)) } catch { throw fault(reason(error)) }
      let payload: [UInt8]
      switch (line.payload, line.payloadBase64) {
      case (let text?, nil): payload = Array(text.utf8)
      case (nil, let text?):
        guard let data = Data(base64Encoded: text) else { throw fault("payloadBase64 is no base 64") }
        payload = Array(data)
      default: throw fault("one of payload and payloadBase64 is needed")
      }
      var received = now
      if let text = line.received {
        guard let wall = try? Array(text.utf8).withUnsafeBytes({ try RFC3339.nanoseconds($0) }) else {
          throw fault("received is no RFC 3339 time")
        }
        received.wall = wall
        received.monotonic = wall
      }
      if line.clockSynchronised == false { received.quality = .unsynchronised }
      var message = message(
        Origin(source: line.source ?? source, topic: line.topic), payload, received: received)
      message.retained = line.retained ?? false
      records.append(Record(offset: Offset(Int64(records.count)), message: message))
    }
    return records
  }

  /// Names members and never what they hold.
  private static func reason(_ error: any Error) -> String {
    switch error {
    case DecodingError.typeMismatch(_, let context) where context.codingPath.last?.stringValue == "payload":
      #"payload must be the payload as a text, with what is within quoted: "payload":"{\"t\":1}""#
    case DecodingError.typeMismatch(_, let context) where !context.codingPath.isEmpty,
      DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
      "\(context.codingPath.map(\.stringValue).joined(separator: ".")) holds a value of another kind"
    case DecodingError.keyNotFound(let key, _): "\(key.stringValue) is missing"
    case DecodingError.typeMismatch: "it is no JSON object"
    default: "it is no JSON"
    }
  }

  private static func message(_ origin: Origin, _ payload: [UInt8], received: Moment) -> Message {
    Message(origin: origin, payload: payload, qos: .atLeastOnce, packetID: 1, received: received)
  }
}
