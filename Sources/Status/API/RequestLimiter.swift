/// A bucket that fills at a steady rate and from which each request takes one.
struct TokenBucket: Sendable, Hashable {
  /// Nanoseconds in which one more is there.
  let interval: Int64
  let capacity: Int64
  /// When it would be, or was, full (the generic cell rate algorithm, ITU-T I.371): one number in place of a level
  /// and a time.
  private var fullAt: Int64 = .min

  init(perSecond: Int64, capacity: Int64) {
    interval = 1_000_000_000 / perSecond
    self.capacity = capacity
  }

  /// Takes one.
  /// - Parameter now: monotonic nanoseconds.
  /// - Returns: 0, or the nanoseconds until there is one.
  mutating func take(now: Int64) -> Int64 {
    let next = max(fullAt, now) + interval
    let wait = next - now - capacity * interval
    if wait > 0 { return wait }
    fullAt = next
    return 0
  }

  func isFull(now: Int64) -> Bool { fullAt <= now }
}

/// How many requests are answered: for each client, so that none takes the place of others, and for all together, so
/// that the gateway's own work does not wait. Pure: time is passed in.
struct RequestLimiter: Sendable {
  struct Limits: Sendable, Hashable {
    // A page asks for a dozen things every few seconds, a scraper and a puller for one each; what one client may is
    // some ten times that.
    var clientPerSecond: Int64 = 100
    var clientCapacity: Int64 = 300
    var perSecond: Int64 = 200
    var capacity: Int64 = 600
    /// Clients that are told apart; those beyond share one bucket. An entry is some 100 bytes.
    var clients = 1024
  }

  private let limits: Limits
  private var overall: TokenBucket
  private var clients: [String: TokenBucket] = [:]
  private var others: TokenBucket

  init(_ limits: Limits = Limits()) {
    self.limits = limits
    overall = TokenBucket(perSecond: limits.perSecond, capacity: limits.capacity)
    others = TokenBucket(perSecond: limits.clientPerSecond, capacity: limits.clientCapacity)
  }

  /// - Parameter now: monotonic nanoseconds.
  /// - Returns: 0 where the request is answered, or the nanoseconds after which it may come again.
  mutating func admit(_ client: String, now: Int64) -> Int64 {
    if clients[client] == nil, clients.count >= limits.clients {
      // Who has been quiet for long enough to have a full bucket is as good as new.
      clients = clients.filter { !$0.value.isFull(now: now) }
    }
    let wait: Int64
    if clients[client] != nil || clients.count < limits.clients {
      let new = TokenBucket(perSecond: limits.clientPerSecond, capacity: limits.clientCapacity)
      wait = clients[client, default: new].take(now: now)
    } else {
      wait = others.take(now: now)
    }
    // Who asks too much takes nothing from the others.
    return wait > 0 ? wait : overall.take(now: now)
  }
}
