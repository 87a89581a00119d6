internal import Delivery
internal import FoundationEssentials
internal import Ingest
internal import Spool
internal import Telemetry

// The stages do not know each other; they meet in the spool through these.

extension Spool {
  /// Passes an error on, after a look whether it tells of damage.
  fileprivate func examined<R>(_ body: () throws -> R) throws -> R {
    do {
      return try body()
    } catch {
      if let error = error as? SpoolError { examine(error, wall: SystemClock.wall()) }
      throw error
    }
  }
}

/// The raw log as the intake sees it.
struct SpooledLog: MessageLog {
  let spool: Spool
  let meters: StageMeters
  /// Called after each commit.
  let onCommit: @Sendable () -> Void

  func append(_ group: MessageGroup) throws {
    let began = SystemClock.monotonic()
    let (first, bytes) = try spool.examined { try spool.log.append(group) }
    meters.committed(group, first: first, began: began, ended: SystemClock.monotonic())
    spool.space.add(bytes)
    onCommit()
  }

  func admission() -> Admission {
    spool.space.parked.map { .closed(reason: $0) } ?? .open
  }

  func recover() throws {
    // SQLite needs room to recover its log and to delete; what is reserved for that is given up now
    // and taken again once the disk has plenty.
    spool.ballast.release()
    try spool.examined { try spool.log.reopen() }
  }

  func inDoubt(source: String, window: Int) throws -> [InDoubtMessage] {
    try spool.examined { try spool.log.inDoubt(source: source, window: window) }
  }

  func forgetInDoubt(source: String) throws {
    try spool.examined { try spool.log.forgetInDoubt(source: source) }
  }
}

/// What the state remembers of the broker sessions.
struct SpooledSessions: SessionStore {
  let spool: Spool

  func clientID(source: String) throws -> String {
    try spool.examined {
      try spool.state.clientID(source: source) {
        // 23 bytes of letters and digits are what every server must take (MQTT 5.0, section 3.1.3.1).
        "forebay" + Epoch(random: .random(in: 0 ... .max)).rawValue
      }
    }
  }

  func subscribedFilters(source: String) throws -> [String: SubscriptionState] {
    // What cannot be read is as good as never subscribed: subscribing again costs retained messages.
    guard let text = try spool.examined({ try spool.state.subscriptions(source: source) }),
      let stored = try? JSONDecoder().decode([String: String].self, from: Data(text.utf8))
    else { return [:] }
    // A word that this version does not know says only that the filter was subscribed once.
    return stored.mapValues { SubscriptionState(rawValue: $0) ?? .uncertain }
  }

  func setSubscribedFilters(_ filters: [String: SubscriptionState], source: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let data = try encoder.encode(filters.mapValues(\.rawValue))
    try spool.examined {
      try spool.state.setSubscriptions(String(decoding: data, as: UTF8.self), source: source)
    }
  }
}

/// The outbox as delivery sees it.
struct SpooledOutbox: Outbox {
  let spool: Spool

  func entries(
    uplink: String, after: OutboxPosition?, excluding: Set<String>, limit: Int
  ) throws -> [OutboxEntry] {
    try spool.examined {
      try spool.state.outbox(
        pipelines: try spool.state.pipelines(uplink: uplink).subtracting(excluding),
        after: after.map { ($0.place, $0.line) }, limit: limit)
    }.map {
      OutboxEntry(
        id: $0.id, position: OutboxPosition(place: $0.position, line: $0.line), batch: $0.batch)
    }
  }

  func confirm(_ ids: [Int64]) throws {
    try spool.examined { try spool.state.confirm(ids, at: SystemClock.wall()) }
  }

  func split(_ id: Int64, into parts: [Batch]) throws {
    try spool.examined { try spool.state.split(id, into: parts) }
  }

  func setAside(_ id: Int64, rule: String, reason: String) throws {
    try spool.examined { try spool.state.setAside(id, rule: rule, reason: reason, now: SystemClock.source()) }
  }
}
