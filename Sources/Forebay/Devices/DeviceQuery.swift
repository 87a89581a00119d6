/// What somebody wants to know of the devices of a pipeline.
struct DeviceQuery: Codable, Sendable, Hashable {
  enum Values: String, Codable, Sendable {
    case none
    /// The data of its last reading, as JSON, and its time.
    case objects
    /// Its last reading as the line that is delivered.
    case lines
  }

  /// Devices in one answer at most: more come in pages.
  static let mostDevices = 10_000
  /// The same where values are wanted: each may cost a block of the log.
  static let mostValues = 200

  var pipeline: String
  /// From 1.
  var limit: Int
  /// Those behind this one: ``DeviceView/Device/key`` of the last device of the page before.
  var after: String?
  /// Those alone that have these names.
  var names: [String]?
  var values = Values.none

  /// `limit` within what one answer may have.
  var boundedLimit: Int {
    max(1, min(limit, values == .none ? DeviceQuery.mostDevices : DeviceQuery.mostValues))
  }
}

/// What comes of a ``DeviceQuery``.
enum DeviceAnswer: Sendable {
  /// JSON; docs/status.md describes it.
  case document([UInt8])
  /// No pipeline of that name runs.
  case unknownPipeline
  /// `devices: off`.
  case off
}
