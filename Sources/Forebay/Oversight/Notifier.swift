internal import Delivery
internal import Ingest
internal import Logging
internal import Pipeline
internal import Status
internal import Synchronization

/// What is told of an alarm, as JSON. Version 1; fields are added, never renamed or removed.
struct AlarmNotice: Codable, Sendable, Hashable {
  var version = 1
  var gateway: String
  var site: String?
  /// `raised`, `changed` or `resolved`.
  var event: AlarmEvent.Change
  var kind: String
  var subject: String
  var severity: AlarmSeverity
  var text: String
  /// RFC 3339.
  var since: String
  var runbook: String
}

/// Tells people of alarms: by webhook, by MQTT. Data never waits for it: an attempt that takes long holds up only what
/// follows on the same channel, and at most one is made at a time.
final class Notifier: Sendable {
  /// A way to tell somebody.
  struct Channel: Sendable {
    /// `webhook` or `mqtt`.
    var name: String
    /// Tells it, or says why it did not arrive.
    var send: @Sendable (AlarmNotice) async -> String?
  }

  /// What a notice says beside the alarm.
  struct Sender: Sendable {
    var gateway: String
    var site: String?
    var alarms: AlarmSettings
  }

  /// Nanoseconds for which a channel may fail before that is an alarm.
  static let patience: Int64 = 600_000_000_000

  private struct State: Sendable {
    var sender: Sender
    var channels: [Channel]
    var queues: [String: NotificationQueue]
    var busy: Set<String> = []
    var lastFault: [String: String] = [:]
  }

  private let state: Mutex<State>
  private let logger: Logger
  private let now: @Sendable () -> Int64

  /// - Parameter now: monotonic nanoseconds.
  init(
    _ sender: Sender, channels: [Channel], interval: Int64, logger: Logger, now: @escaping @Sendable () -> Int64
  ) {
    self.logger = logger
    self.now = now
    let queues = channels.map { ($0.name, NotificationQueue(interval: interval)) }
    state = Mutex(
      State(sender: sender, channels: channels, queues: Dictionary(queues, uniquingKeysWith: { first, _ in first })))
  }

  /// Other channels; what waits for one that stays goes on waiting.
  func adopt(_ sender: Sender, channels: [Channel], interval: Int64) {
    state.withLock { state in
      state.sender = sender
      state.channels = channels
      let old = state.queues
      state.queues = [:]
      for channel in channels {
        var queue = old[channel.name] ?? NotificationQueue(interval: interval)
        queue.interval = interval
        state.queues[channel.name] = queue
      }
    }
  }

  func add(_ events: [AlarmEvent]) {
    state.withLock { state in
      for name in state.queues.keys { state.queues[name]?.add(events) }
    }
  }

  /// Alarms that somebody has not been told of yet.
  var untold: Set<AlarmIdentity> {
    state.withLock { $0.queues.values.reduce(into: []) { $0.formUnion($1.untold) } }
  }

  /// Channels that have failed for long, with what went wrong last, and those that have not.
  func failing() -> [(channel: String, fault: String?)] {
    let now = now()
    return state.withLock { state in
      state.queues.keys.sorted().map { name in
        let since = state.queues[name]?.failingSince
        let isLong = since.map { now - $0 >= Notifier.patience } ?? false
        return (name, isLong ? state.lastFault[name] ?? "it fails" : nil)
      }
    }
  }

  /// Tells what is due, each channel on its own; returns at once.
  func start() {
    let idle = state.withLock { state in
      let idle = state.channels.filter { !state.busy.contains($0.name) }
      state.busy.formUnion(idle.map(\.name))
      return idle
    }
    for channel in idle { Task { await run(channel) } }
  }

  /// Tells everything that is due over one channel, until it fails.
  private func run(_ channel: Channel) async {
    defer { state.withLock { _ = $0.busy.remove(channel.name) } }
    while true {
      let time = now()
      let due = state.withLock { state -> (AlarmEvent, AlarmNotice)? in
        guard let event = state.queues[channel.name]?.next(now: time) else { return nil }
        return (event, AlarmNotice(event, from: state.sender))
      }
      guard let (event, notice) = due else { return }
      let fault = await channel.send(notice)
      let end = now()
      state.withLock { state in
        if fault == nil {
          state.queues[channel.name]?.succeeded(event, now: end)
        } else {
          state.queues[channel.name]?.failed(now: end)
        }
        state.lastFault[channel.name] = fault
      }
      if let fault {
        logger.warning(
          "nobody could be told of an alarm; it is tried again",
          metadata: ["channel": "\(channel.name)", "cause": "\(fault)"])
        return
      }
    }
  }
}

extension AlarmNotice {
  init(_ event: AlarmEvent, from sender: Notifier.Sender) {
    self.init(
      gateway: sender.gateway, site: sender.site, event: event.change, kind: event.alarm.kind,
      subject: event.alarm.subject, severity: event.alarm.severity, text: event.alarm.text,
      since: RFC3339.text(event.alarm.since), runbook: sender.alarms.runbook(event.alarm.kind))
  }
}

extension Notifier.Sender {
  init(_ configuration: Configuration) {
    self.init(
      gateway: configuration.gateway.id, site: configuration.gateway.site, alarms: configuration.alarms)
  }
}

extension Notifier.Channel {
  /// Those that a configuration has.
  static func all(_ configuration: Configuration) -> [Notifier.Channel] {
    let settings = configuration.notifications
    var channels: [Notifier.Channel] = []
    if let http = settings.webhook { channels.append(webhook(http)) }
    if let mqtt = settings.mqtt, let source = configuration.sources.first(where: { $0.name == mqtt.source }) {
      channels.append(publication(mqtt.topic, source))
    }
    return channels
  }

  static func webhook(_ settings: UplinkSettings.HTTP) -> Notifier.Channel {
    let post = DocumentPost(settings: settings, version: Version.current)
    return Notifier.Channel(name: "webhook") { notice in
      guard let text = try? Output.json(notice, pretty: false) else { return "it cannot be written as JSON" }
      switch await post.send(Array(text.utf8), mediaType: "application/json", isCompressed: false) {
      case .success(200..<300): return nil
      case .success(let status): return "\(settings.origin) answered \(status)"
      case .failure(let error): return "\(error)"
      }
    }
  }

  /// To `topic/kind`, or `topic/kind/subject`: retained, so that who comes later sees how every alarm stands.
  static func publication(_ topic: String, _ source: SourceSettings) -> Notifier.Channel {
    Notifier.Channel(name: "mqtt") { notice in
      let place = "\(topic)/\(notice.kind)" + (notice.subject.isEmpty ? "" : "/\(notice.subject)")
      guard let text = try? Output.json(notice, pretty: false) else { return "it cannot be written as JSON" }
      let message = Publication.Message(topic: place, payload: Array(text.utf8))
      return await withCheckedContinuation { done in
        do {
          // The library blocks while it resolves names and connects.
          try Worker.start("notify") {
            do throws(SourceFault) {
              try Publication.publish(message, to: source)
              done.resume(returning: nil)
            } catch {
              done.resume(returning: "source \(source.name): \(error.cause); \(error.hint)")
            }
          }.detach()
        } catch {
          done.resume(returning: "\(error)")
        }
      }
    }
  }
}
