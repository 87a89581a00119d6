/// Decides how many connections with TLS are begun at one time. A value without clock and I/O: times are passed in.
///
/// A handshake is a millisecond or more of work on both sides. More of them at once than the processors do in the
/// time that each has starve one another: all wait for each other, and all are given up when most of their work is
/// done. How many that is depends on the machine, on what else it does, and on how far the gateways are. So the gate
/// watches what becomes of those that it lets in: as long as most are brisk, more may be under way; when most are
/// late, fewer.
///
/// Those that wait for the other side rather than for a processor (packets that are lost, a gateway that accepts a
/// connection and says nothing) give their place back when they have been late for a while: they go on, and hold
/// nobody up.
struct HandshakeGate: Sendable {
  struct Bounds: Sendable, Hashable {
    /// Connections at one time, however late they are.
    var least: Int
    /// To begin with.
    var first: Int
    /// However brisk they are.
    var most: Int
    /// Nanoseconds after which a connection that is not there yet gives its place back: until then nothing of it
    /// takes a processor.
    var connect: Int64
    /// Nanoseconds after which a handshake is late.
    var handshake: Int64

    /// - Parameters:
    ///   - cores: processors of this machine.
    ///   - concurrency: gateways that are asked at one time.
    ///   - total: nanoseconds that each has; being late is far from being given up.
    init(cores: Int, concurrency: Int, total: Int64) {
      most = max(1, concurrency)
      least = min(most, 4 * max(1, cores))
      first = min(most, 16 * max(1, cores))
      handshake = max(1, total / 5)
      connect = max(1, total / 20)
    }
  }

  private enum Phase: Sendable { case connecting, shaking }

  private struct Place: Sendable {
    var phase = Phase.connecting
    /// Whether it takes the room of another one.
    var counts = true
    var hasVoted = false
  }

  /// After so many votes it is decided, or after as many as there are places, whichever is more: those that were let
  /// in under the limit before say nothing about this one.
  private static let round = 16

  private let bounds: Bounds
  private var waiting = Queue<Int>()
  private var isWaiting: Set<Int> = []
  private var places: [Int: Place] = [:]
  private var nextTicket = 0
  /// Each phase has one patience, so that those that begin first are late first.
  private var connecting = Queue<(ticket: Int, late: Int64)>()
  private var shaking = Queue<(ticket: Int, late: Int64)>()
  private var brisk = 0
  private var late = 0
  /// Whether somebody waited in this round, so that more places would have been of use.
  private var wasFull = false

  /// Connections that may be under way at one time.
  private(set) var limit: Int
  /// Those that are, without those that have given their place back.
  private(set) var held = 0

  init(_ bounds: Bounds) {
    self.bounds = bounds
    limit = bounds.first
  }

  /// Somebody wants to connect.
  /// - Returns: what it is called from now on.
  mutating func enter() -> Int {
    nextTicket += 1
    waiting.append(nextTicket)
    isWaiting.insert(nextTicket)
    return nextTicket
  }

  /// Those to let in now, in the order in which they came; each of them is to be reported to ``leave(_:at:)``.
  /// - Parameter now: nanoseconds of a clock that never goes back.
  mutating func admissions(at now: Int64) -> [Int] {
    expire(at: now)
    var out: [Int] = []
    while let ticket = waiting.first {
      guard isWaiting.contains(ticket) else {
        _ = waiting.popFirst()
        continue
      }
      guard held < limit else {
        wasFull = true
        break
      }
      _ = waiting.popFirst()
      isWaiting.remove(ticket)
      places[ticket] = Place()
      held += 1
      connecting.append((ticket, now + bounds.connect))
      out.append(ticket)
    }
    return out
  }

  /// The connection is there, and the handshake begins.
  mutating func connected(_ ticket: Int, at now: Int64) {
    guard var place = places[ticket], place.phase == .connecting else { return }
    place.phase = .shaking
    if !place.counts {
      place.counts = true
      held += 1
    }
    places[ticket] = place
    shaking.append((ticket, now + bounds.handshake))
  }

  /// The handshake has ended, well or not; or it is given up, or was never begun.
  mutating func leave(_ ticket: Int, at now: Int64) {
    expire(at: now)
    isWaiting.remove(ticket)
    guard let place = places.removeValue(forKey: ticket) else { return }
    if place.counts { held -= 1 }
    // How long it takes to be refused, or not to be found, says nothing about handshakes.
    if place.phase == .shaking, !place.hasVoted { vote(isLate: false) }
  }

  private mutating func expire(at now: Int64) {
    while let (ticket, late) = connecting.first, late <= now || places[ticket]?.phase != .connecting {
      _ = connecting.popFirst()
      if places[ticket]?.phase == .connecting { release(ticket) }
    }
    while let (ticket, late) = shaking.first, late <= now || places[ticket] == nil {
      _ = shaking.popFirst()
      guard places[ticket] != nil else { continue }
      release(ticket)
      places[ticket]?.hasVoted = true
      vote(isLate: true)
    }
  }

  private mutating func release(_ ticket: Int) {
    guard places[ticket]?.counts == true else { return }
    places[ticket]?.counts = false
    held -= 1
  }

  private mutating func vote(isLate: Bool) {
    if isLate { late += 1 } else { brisk += 1 }
    guard late + brisk >= max(HandshakeGate.round, limit) else { return }
    if late > brisk {
      limit = max(bounds.least, limit / 2)
    } else if wasFull {
      limit = min(bounds.most, limit + (limit + 1) / 2)
    }
    (late, brisk, wasFull) = (0, 0, false)
  }
}
