internal import Delivery
internal import Ingest

/// Who is told of alarms.
struct NotificationSettings: Sendable, Hashable {
  struct MQTT: Sendable, Hashable {
    /// The name of the source whose broker is published to.
    var source: String
    /// What `/kind` and `/subject` are put behind.
    var topic: String
  }

  var webhook: UplinkSettings.HTTP?
  var mqtt: MQTT?
  /// Nanoseconds between two messages about one alarm.
  var interval: Int64 = 300_000_000_000
}
