/// Why a group of staged messages was ended.
package enum GroupEnd: Sendable, Hashable {
  /// As many messages as a group may hold.
  case count
  /// As many bytes as a group may hold, of payloads, topics and properties.
  case bytes
  /// The group's first message has waited long enough.
  case linger
  /// A broker has sent all that it may have unacknowledged, and waits for us.
  case window
  /// A session owes its broker a sign of life, which may not overtake the commit.
  case keepalive
  /// A session is being closed, or connects again.
  case closing
}

/// Decides when the staged messages become a group (docs/architecture.md, "Acknowledging after the
/// commit"). Pure: the instants are nanoseconds of one monotonic clock, given by the caller.
///
/// A group ends on count, on bytes, on linger since its first message, or when a source has sent its
/// whole in-flight window and its socket has been dry for ``InFlightWindow/patience``. Without the
/// window, a broker that sends 20 messages and then waits for acknowledgements would get them only at
/// the end of the linger, and intake would be capped at 80 messages a second.
package struct GroupCore: Sendable {
  private struct Source: Sendable {
    var window: InFlightWindow
    /// Messages of the source in the group, of any QoS.
    var staged = 0
    /// Their payload bytes.
    var bytes = 0
    /// Those that await acknowledgement.
    var unacknowledged = 0
    var lastArrival: Int64 = 0
    /// Since when the socket has had nothing to read; nil while it has.
    var drySince: Int64?
  }

  package let settings: GroupSettings
  private var sources: [Source?] = []
  private var count = 0
  private var bytes = 0
  private var firstArrival: Int64 = 0

  package init(settings: GroupSettings) {
    self.settings = settings
  }

  /// Enters a source and gives the number by which it is named from then on.
  package mutating func enter(_ window: InFlightWindow) -> Int {
    if let free = sources.firstIndex(where: { $0 == nil }) {
      sources[free] = Source(window: window)
      return free
    }
    sources.append(Source(window: window))
    return sources.count - 1
  }

  /// Forgets a source that has nothing staged.
  package mutating func leave(_ source: Int) {
    precondition(sources[source]?.staged == 0, "a source leaves when its messages are committed")
    sources[source] = nil
  }

  package var isEmpty: Bool { count == 0 }
  /// Nothing more may be staged before the group is committed.
  package var isFull: Bool { count >= settings.maximumCount || bytes >= settings.maximumBytes }

  package func staged(of source: Int) -> Int { sources[source]?.staged ?? 0 }
  package func stagedBytes(of source: Int) -> Int { sources[source]?.bytes ?? 0 }
  /// The in-flight window that was learned; nil while none was.
  package func learnedWindow(of source: Int) -> Int? { sources[source]?.window.learned }

  /// A message was staged.
  /// - Parameters:
  ///   - acknowledged: whether its broker awaits an acknowledgement (QoS 1).
  ///   - size: of its payload.
  ///   - beside: bytes that it holds in memory beside that: its topic, where the group did not have it, and its
  ///     properties.
  package mutating func staged(
    source: Int, acknowledged: Bool, bytes size: Int, beside: Int = 0, at now: Int64
  ) {
    if count == 0 { firstArrival = now }
    count += 1
    bytes += size + beside
    sources[source]?.staged += 1
    sources[source]?.bytes += size
    sources[source]?.drySince = nil
    if acknowledged {
      sources[source]?.unacknowledged += 1
      sources[source]?.lastArrival = now
      let unacknowledged = sources[source]?.unacknowledged ?? 0
      sources[source]?.window.arrived(unacknowledged: unacknowledged, at: now)
    }
  }

  /// The socket of a source has nothing more to read.
  package mutating func dry(_ source: Int, at now: Int64) {
    if sources[source]?.drySince == nil { sources[source]?.drySince = now }
  }

  /// The socket of a source has something to read again.
  package mutating func wet(_ source: Int) {
    sources[source]?.drySince = nil
  }

  /// Whether, and why, the group ends now.
  package func end(at now: Int64) -> GroupEnd? {
    guard count > 0 else { return nil }
    if count >= settings.maximumCount { return .count }
    if bytes >= settings.maximumBytes { return .bytes }
    if now - firstArrival >= settings.linger { return .linger }
    for case let source? in sources {
      if let instant = windowEnd(of: source), now >= instant { return .window }
    }
    return nil
  }

  /// The instant at which ``end(at:)`` has an answer if nothing more happens; nil for an empty group.
  package var deadline: Int64? {
    guard count > 0 else { return nil }
    if isFull { return firstArrival }
    var earliest = firstArrival + settings.linger
    for case let source? in sources {
      if let instant = windowEnd(of: source) { earliest = min(earliest, instant) }
    }
    return earliest
  }

  private func windowEnd(of source: Source) -> Int64? {
    switch source.window.standing(unacknowledged: source.unacknowledged) {
    case .open: nil
    case .certainlyFull: source.lastArrival
    case .probablyFull(let patience): source.drySince.map { $0 + patience }
    }
  }

  /// The group is committed and its acknowledgements are written: the next one begins.
  /// - Parameters:
  ///   - end: why it ended.
  ///   - now: when the acknowledgements had left.
  ///   - wasDry: for each source whether its socket was still dry after the commit, just before the
  ///     acknowledgements left. What comes after them says nothing about the window otherwise.
  package mutating func committed(_ end: GroupEnd, at now: Int64, wasDry: (Int) -> Bool) {
    let half = settings.linger / 2
    for index in sources.indices {
      guard var source = sources[index] else { continue }
      if source.unacknowledged > 0 {
        // A blocked broker fell silent long before the linger was over; one that merely sends slowly
        // did not.
        let silent = now - source.lastArrival >= half
        let full =
          source.window.standing(unacknowledged: source.unacknowledged) != .open
        source.window.acknowledged(
          source.unacknowledged, at: now,
          evidence: !wasDry(index)
            ? .none : end == .linger && silent ? .lingered : end == .window && full ? .window : .none)
      }
      source.staged = 0
      source.bytes = 0
      source.unacknowledged = 0
      sources[index] = source
    }
    count = 0
    bytes = 0
  }

  /// The group is dropped: nothing of it was acknowledged.
  package mutating func dropped() {
    for index in sources.indices {
      sources[index]?.staged = 0
      sources[index]?.bytes = 0
      sources[index]?.unacknowledged = 0
    }
    count = 0
    bytes = 0
  }
}
