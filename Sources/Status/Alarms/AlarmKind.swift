/// Every kind of alarm; docs/operations.md has a section for each, under its name.
package enum AlarmKind: String, Sendable, Hashable, CaseIterable, Codable {
  /// The status page and its API are not there as configured.
  case api
  /// Something has waited for too long.
  case backlog
  /// The wall clock has not been synchronised for too long.
  case clock
  /// The configuration was refused, and another one runs.
  case configuration
  /// A certificate, a token or a password runs out, cannot be read or is refused.
  case credentials
  /// Dead letters went before their time.
  case deadLetters = "dead-letters"
  /// The disk, or the spool, will be full soon.
  case disk
  /// A broker has dropped messages.
  case droppedByBroker = "dropped-by-broker"
  /// Somebody was to be told of an alarm, and could not be reached.
  case notification
  /// An error budget is being used up too fast.
  case objective
  /// Nothing is taken in, for want of room.
  case parked
  /// An operator has stopped an uplink.
  case paused
  /// The pipelines cannot read, seal or keep.
  case pipelines
  /// A broker cannot be used.
  case source
  /// A broker does not give what a filter asks for.
  case subscription
  /// A reference table cannot be used.
  case table
  /// Nothing can be delivered.
  case uplink
}
