internal import Delivery
internal import Ingest
internal import Logging
internal import Pipeline
internal import Status
internal import Synchronization

/// What is told of an alarm, as JSON. Version 1; fields are added, never renamed or removed.
struct AlarmNotice: Codable, Sendable, Hashable {
  var version = 1
  /// ``AlarmNews/key``
  var key: String
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
///
/// What a channel may have told is on disk before it is sent (``NotifierMemory``), so that the end of an alarm is told
/// whatever happens to the process in between.
final class Notifier: Sendable {
  /// A way to tell somebody.
  struct Channel: Sendable {
    /// `webhook` or `mqtt`.
    var name: String
    /// Tells it, or says why it did not arrive, or why nobody knows.
    var send: @Sendable (AlarmNotice) async -> Attempt
  }

  /// How an attempt to tell of an alarm ended.
  enum Attempt: Sendable, Hashable {
    case told
    /// It did not arrive, for this reason.
    case notTold(String)
    /// It was sent, and there was no answer, for this reason: it may have arrived.
    case unknown(String)

    var fault: String? {
      switch self {
      case .told: nil
      case .notTold(let fault), .unknown(let fault): fault
      }
    }

    fileprivate var outcome: NotificationQueue.Outcome {
      switch self {
      case .told: .told
      case .notTold: .notTold
      case .unknown: .unknown
      }
    }
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
  private let memory: NotifierMemory
  private let logger: Logger
  private let now: @Sendable () -> Int64

  /// Goes on with what the last run told.
  /// - Parameters:
  ///   - directory: the spool's.
  ///   - now: monotonic nanoseconds.
  init(
    _ sender: Sender, channels: [Channel], interval: Int64, directory: String, logger: Logger,
    now: @escaping @Sendable () -> Int64
  ) {
    self.logger = logger
    self.now = now
    memory = NotifierMemory(directory: directory, logger: logger)
    let known = memory.channels
    let queues = channels.map { ($0.name, NotificationQueue(interval: interval, known: known[$0.name] ?? [])) }
    state = Mutex(
      State(sender: sender, channels: channels, queues: Dictionary(queues, uniquingKeysWith: { first, _ in first })))
  }

  /// Other channels. What waits for one that stays goes on waiting; a new one is told what lasts.
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

  /// Follows the alarms as they stand after a look.
  func follow(_ board: AlarmBoard) {
    state.withLock { state in
      for name in state.queues.keys { state.queues[name]?.follow(board) }
    }
  }

  /// Alarms that somebody was told of, or may have been told of, and of whose end nobody has been told for certain.
  var known: [Alarm] {
    let all = state.withLock { $0.queues.values.flatMap { $0.known.map(\.alarm) } }
    return Dictionary(all.map { (AlarmIdentity($0), $0) }) { $0.since <= $1.since ? $0 : $1 }.values
      .sorted { ($0.since, $0.kind, $0.subject) < ($1.since, $1.kind, $1.subject) }
  }

  /// Writes what has been told so far, if that is not what was written last: what is told for certain need not be told
  /// again after a restart.
  func keep() { memory.write { remembered } }

  private var remembered: [String: [ToldAlarm]] { state.withLock { $0.queues.mapValues(\.known) } }

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
  func start() { Task { await tell() } }

  /// The same; returns when all that was due has been told or has failed. A channel that is still at it from before is
  /// left alone.
  func tell() async {
    let idle = state.withLock { state in
      let idle = state.channels.filter { !state.busy.contains($0.name) }
      state.busy.formUnion(idle.map(\.name))
      return idle
    }
    await withTaskGroup(of: Void.self) { group in
      for channel in idle { group.addTask { await self.run(channel) } }
    }
  }

  /// Tells everything that is due over one channel, until it fails.
  private func run(_ channel: Channel) async {
    defer { state.withLock { _ = $0.busy.remove(channel.name) } }
    while true {
      let time = now()
      let due = state.withLock { state -> AlarmNotice? in
        let news = state.queues[channel.name]?.begin(now: time, key: AlarmNotice.newKey)
        return news.map { AlarmNotice($0, from: state.sender) }
      }
      guard let notice = due else { return }
      memory.write(before: notice.key) { remembered }
      let attempt = await channel.send(notice)
      let end = now()
      state.withLock { state in
        state.queues[channel.name]?.end(attempt.outcome, now: end)
        state.lastFault[channel.name] = attempt.fault
      }
      if let fault = attempt.fault {
        logger.warning(
          "nobody could be told of an alarm; it is tried again",
          metadata: ["channel": "\(channel.name)", "cause": "\(fault)"])
        return
      }
    }
  }
}

extension AlarmNotice {
  init(_ news: AlarmNews, from sender: Notifier.Sender) {
    let event = news.event
    self.init(
      key: news.key, gateway: sender.gateway, site: sender.site, event: event.change, kind: event.alarm.kind,
      subject: event.alarm.subject, severity: event.alarm.severity, text: event.alarm.text,
      since: RFC3339.text(event.alarm.since), runbook: sender.alarms.runbook(event.alarm.kind))
  }

  fileprivate var json: String? { try? Output.json(self, pretty: false) }
  fileprivate static let unwritable = "it cannot be written as JSON"

  /// 16 hexadecimal digits by chance: a counter would begin anew where its file is lost, and what comes under a key that
  /// was there before is thrown away.
  static func newKey() -> String {
    let digits = String(UInt64.random(in: 0 ... .max), radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
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
      guard let text = notice.json else { return .notTold(AlarmNotice.unwritable) }
      switch await post.send(Array(text.utf8), mediaType: "application/json", isCompressed: false) {
      case .success(200..<300): return .told
      case .success(let status):
        let fault = "\(settings.origin) answered \(status)"
        // Of what it redirects or finds fault with it has taken nothing. Behind a 5xx, mostly of a proxy, somebody may
        // have, and behind a 408, too.
        return (300..<500).contains(status) && status != 408 ? .notTold(fault) : .unknown(fault)
      case .failure(let error):
        switch error.kind {
        case .notConnected, .tls, .configuration: return .notTold("\(error)")
        case .timedOut, .closed, .garbage, .diskFull, .disk, .cancelled: return .unknown("\(error)")
        }
      }
    }
  }

  /// To `topic/kind`, or `topic/kind/subject`: retained, so that who comes later sees how every alarm stands.
  static func publication(_ topic: String, _ source: SourceSettings) -> Notifier.Channel {
    Notifier.Channel(name: "mqtt") { notice in
      let place = "\(topic)/\(notice.kind)" + (notice.subject.isEmpty ? "" : "/\(notice.subject)")
      guard let text = notice.json else { return .notTold(AlarmNotice.unwritable) }
      let message = Publication.Message(topic: place, payload: Array(text.utf8))
      return await withCheckedContinuation { done in
        do {
          // The library blocks while it resolves names and connects.
          try Worker.start("notify") {
            do throws(Publication.Failure) {
              try Publication.publish(message, to: source)
              done.resume(returning: .told)
            } catch {
              let fault = "source \(source.name): \(error.fault.cause); \(error.fault.hint)"
              done.resume(returning: error.mayHaveArrived ? .unknown(fault) : .notTold(fault))
            }
          }.detach()
        } catch {
          done.resume(returning: .notTold("\(error)"))
        }
      }
    }
  }
}
