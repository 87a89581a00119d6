internal import Ingest

/// What brokers have dropped since it was last forgotten, over reconnects and restarts.
///
/// Mosquitto counts the messages that it drops for all its clients together
/// (`$SYS/broker/publish/messages/dropped`, mosquitto(8)). Whose they were it does not say, and neither does this. What
/// it counted while nobody looked shows when somebody looks again, and so the last count is kept. A count that is
/// smaller than the one before, or another broker's, is where counting begins anew: what was dropped before that, and
/// not seen, nobody can know.
struct BrokerDrops: Sendable, Hashable, Codable {
  /// Nanoseconds of running for which drops are told after the last of them.
  static let lasting: Int64 = 86_400_000_000_000
  /// Sources of which something is kept at most: what is read comes from a file.
  private static let mostSources = 1_024

  /// What is known of a source's broker.
  struct Mark: Sendable, Hashable, Codable {
    /// ``SourceStatus/address``: another broker has a count of its own.
    var address: String
    /// The broker's count when it was seen last.
    var total: Int64
    /// Dropped between the last look at one connection and the first at the next.
    var away: Int64 = 0
    /// Dropped while we were connected.
    var connected: Int64 = 0
    /// Nanoseconds of running since it grew last.
    var age: Int64 = 0

    var isSane: Bool { total >= 0 && away >= 0 && connected >= 0 && age >= 0 }

    /// For people; nil when nothing was dropped.
    var text: String? {
      let parts = [(away, "away"), (connected, "connected")].compactMap { count, what in
        count > 0 ? "\(Output.count(count, "message")) while we were \(what)" : nil
      }
      guard !parts.isEmpty else { return nil }
      return "the broker dropped \(parts.joined(separator: " and ")), for whichever of its clients: "
        + "ours may be among them"
    }
  }

  /// By the name of the source.
  private(set) var marks: [String: Mark] = [:]

  init() {}

  /// - Parameter marks: of a file; those that make no sense are left out.
  init(restoring marks: [String: Mark]) {
    self.marks = marks.count > BrokerDrops.mostSources ? [:] : marks.filter(\.value.isSane)
  }

  /// - Parameters:
  ///   - sources: all that are configured; none: nothing is known, and nothing changes.
  ///   - elapsed: nanoseconds since the look before, 0 at the first.
  mutating func look(_ sources: [SourceStatus], elapsed: Int64) {
    guard !sources.isEmpty else { return }
    let names = Set(sources.map(\.name))
    marks = marks.filter { names.contains($0.key) }
    for source in sources {
      let known = marks[source.name].flatMap { $0.address == source.address ? $0 : nil }
      marks[source.name] = BrokerDrops.next(known, source, elapsed: max(0, elapsed))
    }
  }

  private static func next(_ known: Mark?, _ source: SourceStatus, elapsed: Int64) -> Mark? {
    guard let dropped = source.droppedByBroker else { return known.map { aged($0, elapsed) } }
    // Where the broker stood when this connection asked first.
    let base = max(0, dropped.total - dropped.sinceConnected)
    var mark = known.map { aged($0, elapsed) } ?? Mark(address: source.address, total: base)
    // A broker that was started anew counts from zero.
    if dropped.total < mark.total { mark.total = base }
    let away = max(0, base - mark.total)
    let connected = max(0, dropped.total - max(base, mark.total))
    if away > 0 || connected > 0 { mark.age = 0 }
    mark.away = sum(mark.away, away)
    mark.connected = sum(mark.connected, connected)
    mark.total = dropped.total
    return mark
  }

  private static func aged(_ mark: Mark, _ elapsed: Int64) -> Mark {
    var mark = mark
    guard mark.away > 0 || mark.connected > 0 else { return mark }
    mark.age = sum(mark.age, elapsed)
    if mark.age >= lasting { (mark.away, mark.connected, mark.age) = (0, 0, 0) }
    return mark
  }

  /// A broker may say whatever it likes.
  private static func sum(_ left: Int64, _ right: Int64) -> Int64 {
    let (sum, overflow) = left.addingReportingOverflow(right)
    return overflow ? .max : sum
  }
}
