/// How long to wait before the next attempt to connect. Pure; nanoseconds.
///
/// Ordinary failures: "full jitter", evenly drawn from zero to a bound that doubles with every failure
/// from 0.5 s up to 60 s, so that a broker that comes back is not met by all its clients at once. A
/// session that another client took over waits at least 10 s, and up to 20 min when it happens again
/// and again: two boxes with one client id would otherwise throw each other out without end, and each
/// time the broker would send its unacknowledged messages to the other one.
package struct Backoff: Sendable {
  package static let initialBound: Int64 = 500_000_000
  package static let maximumBound: Int64 = 60_000_000_000
  package static let contestedMinimum: Int64 = 10_000_000_000
  package static let contestedMaximum: Int64 = 600_000_000_000
  /// A connection that lasted so long ends a series of ordinary failures.
  package static let stable: Int64 = 10_000_000_000
  /// A connection that lasted so long ends a series of takeovers.
  package static let uncontested: Int64 = 1_200_000_000_000

  /// So many accepted connections in a row that the broker closed soon and without a word are taken for
  /// a fight over the client id: mosquitto 2.0 does not say "session taken over".
  package static let silentClosesToContest = 3
  /// How soon is soon, at least.
  package static let soon: Int64 = 30_000_000_000

  private var failures = 0
  private var takeovers = 0
  private var silentCloses = 0
  private var lastContestedDelay: Int64 = 0

  package init() {}

  /// Whether another client probably uses our client id.
  package var isContested: Bool { silentCloses >= Self.silentClosesToContest }

  /// The delay after a failure to connect, or the loss of a connection.
  package mutating func delay(using random: inout some RandomNumberGenerator) -> Int64 {
    let bound = min(Self.maximumBound, Self.initialBound << Int64(min(failures, 20)))
    failures += 1
    return Int64.random(in: 0...bound, using: &random)
  }

  /// The delay after another client took the session over.
  package mutating func delayAfterTakeover(using random: inout some RandomNumberGenerator) -> Int64 {
    let least = min(Self.contestedMaximum, Self.contestedMinimum << Int64(min(takeovers, 20)))
    takeovers += 1
    lastContestedDelay = Int64.random(in: least...2 * least, using: &random)
    return lastContestedDelay
  }

  /// A connection that the broker had accepted is over.
  /// - Parameters:
  ///   - duration: how long it lasted.
  ///   - silently: whether the broker closed it without saying why.
  package mutating func connectionEnded(after duration: Int64, silently: Bool) {
    if duration >= Self.stable { failures = 0 }
    if duration >= Self.uncontested { takeovers = 0 }
    silentCloses = silently && duration < max(Self.soon, 3 * lastContestedDelay) ? silentCloses + 1 : 0
  }

  /// An attempt ended before the broker accepted us: who closed the last connection was not another
  /// client, for that one would find a broker that accepts.
  package mutating func attemptFailed() {
    silentCloses = 0
  }
}
