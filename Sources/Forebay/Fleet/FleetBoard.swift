import Status

/// What came of asking a gateway once.
enum PullOutcome: Sendable, Hashable {
  case answered(PulledStatus)
  /// Nothing that tells how it is: no connection, no answer in time, no permission. In words.
  case unreachable(String)
  /// Something answers that is not the gateway as it ought to be. In words.
  case invalid(String)
}

/// A fleet as it was last seen. A value without clock and I/O: times are passed in.
struct FleetBoard: Sendable {
  /// The numbers stand in metrics: from 3 on nothing is known of how the gateway is.
  enum State: Int, Sendable, CaseIterable, Comparable {
    case ok, warning, critical, unreachable, invalid

    var word: String { "\(self)" }

    /// How much it needs somebody, the higher the more: somebody is called; something answers in a gateway's name;
    /// nothing is known, as it is for a while with every gateway behind a bad link; there are tickets.
    var urgency: Int {
      switch self {
      case .ok: 0
      case .warning: 1
      case .unreachable: 2
      case .invalid: 3
      case .critical: 4
      }
    }
    static func < (left: State, right: State) -> Bool { left.rawValue < right.rawValue }
  }

  struct Entry: Sendable {
    var target: FleetTarget
    /// Nil until it has been asked once.
    var state: State?
    /// What is wrong, in words; empty when nothing is.
    var reason = ""
    /// Wall nanoseconds since 1970: when it came into its state.
    var since: Int64 = 0
    /// The id that it answered with first; it is bound to this entry, and says nothing about another one.
    var identity: String?
    /// What came of asking it the last time, whatever others claim to be.
    fileprivate var found: (state: State, reason: String)?
    /// What it said when it last answered as it ought to.
    var summary: PulledStatus?
    /// Wall nanoseconds since 1970, of ``summary``.
    var lastSeen: Int64?
    /// Nanoseconds that asking took, the last time.
    var took: Int64 = 0

    /// Whether the last answer tells how it is now.
    var isCurrent: Bool { state.map { $0 < .unreachable } ?? false }
    var site: String? { target.site ?? summary?.site }
    /// The id that it has: the inventory's word counts, and without one its own.
    fileprivate var claim: String? { target.name ?? identity }
  }

  private(set) var entries: [Entry] = []
  private var indices: [String: Int] = [:]
  /// The entries that have an id, in their order; one, where all is well.
  private var claimants: [String: [Int]] = [:]
  private(set) var pulls = PullCounts()

  /// What was asked since the beginning.
  struct PullCounts: Sendable, Hashable {
    /// By what came of it.
    var answered: Int64 = 0
    var unreachable: Int64 = 0
    var invalid: Int64 = 0
    /// How long they took, in seconds.
    var durations = HistogramFigures(PullCounts.bounds)
    private static let bounds = HistogramBounds([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10])

    var total: Int64 { answered + unreachable + invalid }
  }

  init(targets: [FleetTarget]) { replace(targets) }

  /// Takes another list of gateways. What is known of those that stay is kept, except, where `forget` says so, which
  /// id they answered with: a box may have been exchanged.
  mutating func replace(_ targets: [FleetTarget], forgettingIdentities forget: Bool = false) {
    let before = entries
    let known = indices
    entries = targets.map { target in
      guard let index = known[target.url] else { return Entry(target: target) }
      var entry = before[index]
      if forget || entry.target.name != target.name { entry.identity = nil }
      entry.target = target
      return entry
    }
    indices = [:]
    claimants = [:]
    for (index, entry) in entries.enumerated() {
      indices[entry.target.url] = index
      if let claim = entry.claim { claimants[claim, default: []].append(index) }
    }
    // Who claimed the same may have gone.
    for index in entries.indices { settle(index, at: entries[index].since) }
  }

  func index(of url: String) -> Int? { indices[url] }

  /// Takes in what came of a pull.
  /// - Parameters:
  ///   - now: wall nanoseconds since 1970.
  ///   - took: nanoseconds.
  /// - Returns: the state that follows; nil for a gateway that is not in the fleet any more.
  @discardableResult
  mutating func record(_ outcome: PullOutcome, for url: String, at now: Int64, took: Int64) -> State? {
    guard let index = indices[url] else { return nil }
    count(outcome, took: took)
    let claim = entries[index].claim
    entries[index].found = judge(outcome, index: index, at: now)
    entries[index].took = took
    if claim == nil, let claim = entries[index].claim {
      claimants[claim, default: []].append(index)
      // Who had the id alone has a rival now.
      if let all = claimants[claim], all.count == 2 { settle(all[0], at: now) }
    }
    settle(index, at: now)
    return entries[index].state
  }

  private mutating func judge(_ outcome: PullOutcome, index: Int, at now: Int64) -> (State, String) {
    switch outcome {
    case .unreachable(let reason): return (.unreachable, reason)
    case .invalid(let reason): return (.invalid, reason)
    case .answered(let summary):
      let id = summary.gateway
      if let name = entries[index].target.name, name != id {
        return (.invalid, "answers as '\(id)', and the inventory says '\(name)'")
      }
      if let before = entries[index].identity, before != id {
        return (.invalid, "answers as '\(id)', and was '\(before)' before; SIGHUP accepts another box")
      }
      entries[index].identity = id
      entries[index].summary = summary
      entries[index].lastSeen = now
      switch summary.state {
      case .ok: return (.ok, "")
      case .warning: return (.warning, FleetBoard.words(summary))
      case .critical: return (.critical, FleetBoard.words(summary))
      }
    }
  }

  /// Sets the state of an entry from what was found and from who else has its id.
  ///
  /// Two that claim one id are a fault of both, unless the inventory says whose it is; and neither hides the other:
  /// each stays under its own place, and what calls somebody goes on to call.
  private mutating func settle(_ index: Int, at now: Int64) {
    let entry = entries[index]
    guard var (state, reason) = entry.found else { return }
    if state < .unreachable, let rivals = rivals(of: index) {
      let fault = "answers as '\(entry.claim ?? "")', \(rivals)"
      if state.urgency < State.invalid.urgency { (state, reason) = (.invalid, fault) } else { reason += "; " + fault }
    }
    entries[index].reason = reason
    if entry.state != state {
      entries[index].state = state
      entries[index].since = now
    }
  }

  /// Who else has the id of an entry, in words; nil where nobody has, or the inventory gives it to this entry.
  private func rivals(of index: Int) -> String? {
    let entry = entries[index]
    guard entry.target.name == nil, let claim = entry.claim, let all = claimants[claim], all.count > 1 else {
      return nil
    }
    if let named = all.first(where: { entries[$0].target.name != nil }) {
      return "which is \(entries[named].target.url) in the inventory: a copied card, or one gateway twice?"
    }
    let others = all.lazy.filter { $0 != index }
    let more = all.count > 2 ? " and \(Output.count(Int64(all.count - 2), "other"))" : ""
    let first = others.first.map { entries[$0].target.url } ?? ""
    return "as \(first)\(more) too: a copied card, or one gateway twice? names in the inventory tell them apart"
  }

  private mutating func count(_ outcome: PullOutcome, took: Int64) {
    switch outcome {
    case .answered: pulls.answered += 1
    case .unreachable: pulls.unreachable += 1
    case .invalid: pulls.invalid += 1
    }
    pulls.durations.record(Double(took) / 1e9)
  }

  /// The alarm that matters most, and how many more there are.
  private static func words(_ summary: PulledStatus) -> String {
    let others = summary.pages + summary.tickets - 1
    let more = others > 0 ? " (and \(Output.count(Int64(others), "more alarm")))" : ""
    guard let alarm = summary.alarms.first else {
      return Output.count(Int64(summary.pages + summary.tickets), "alarm")
    }
    let subject = alarm.subject.isEmpty ? "" : " \(alarm.subject)"
    return Output.plain("\(alarm.kind)\(subject): \(alarm.text)", limit: 200) + more
  }

  // MARK: Looking at it

  /// How many are in each state; those that were not asked yet are in none.
  var counts: [State: Int] {
    entries.reduce(into: [:]) { counts, entry in
      if let state = entry.state { counts[state, default: 0] += 1 }
    }
  }

  /// Entries by how much they need somebody (``State/urgency``), then those with more alarms, then those with older data.
  var worstFirst: [Entry] {
    func rank(_ entry: Entry) -> (Int, Int, Int, Double) {
      let summary = entry.isCurrent ? entry.summary : nil
      return (
        entry.state?.urgency ?? -1, summary?.pages ?? 0, summary?.tickets ?? 0, summary?.freshnessSeconds ?? 0
      )
    }
    return entries.map { (rank($0), $0) }.sorted { left, right in
      left.0 == right.0 ? left.1.target.url < right.1.target.url : left.0 > right.0
    }.map(\.1)
  }

  /// What each entry is called, in the order of ``entries``: the inventory's name, else the id that the gateway
  /// answers with where no other one has it, else its place. No two are called the same.
  var names: [String] {
    entries.map { entry in
      if let name = entry.target.name { return name }
      if let identity = entry.identity, claimants[identity]?.count == 1 { return identity }
      return entry.target.place
    }
  }
}
