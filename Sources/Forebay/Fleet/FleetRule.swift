/// When `forebay fleet` ends with status 1: `critical`, `unreachable=5%`, `warning=10`.
struct FleetRule: Sendable, Hashable {
  enum Bound: Sendable, Hashable {
    /// Gateways.
    case count(Int)
    /// Of all gateways, 0 to 1.
    case share(Double)
  }

  /// Gateways in this state; those that are critical count as `warning`, too.
  var state: FleetBoard.State
  /// The rule is met by more than so many.
  var bound: Bound
  /// As it was written.
  var text: String

  struct Fault: Error, CustomStringConvertible {
    var description: String
  }

  init(_ text: String) throws(Fault) {
    let pair = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let words = FleetBoard.State.allCases.filter { $0 != .ok }
    guard let state = words.first(where: { pair.first.map(String.init) == $0.word }) else {
      throw Fault(
        description: "'\(text)': expected one of \(words.map(\.word).joined(separator: ", ")), alone or with =5% or =10"
      )
    }
    self.state = state
    self.text = text
    guard pair.count == 2 else {
      bound = .count(0)
      return
    }
    let wrong = Fault(description: "'\(text)': expected a number of gateways or a percentage behind '='")
    if pair[1].hasSuffix("%") {
      guard let percent = Double(pair[1].dropLast()), (0...100).contains(percent) else { throw wrong }
      bound = .share(percent / 100)
    } else {
      guard let count = Int(pair[1]), count >= 0 else { throw wrong }
      bound = .count(count)
    }
  }

  /// What holds when nothing else is asked for: every gateway answers, and none needs somebody now.
  static let usual: [FleetRule] = ["critical", "unreachable", "invalid"].compactMap { try? FleetRule($0) }

  /// How many gateways the rule looks at, and whether there are too many.
  func verdict(on board: FleetBoard) -> (count: Int, isMet: Bool) {
    let counts = board.counts
    var count = counts[state] ?? 0
    if state == .warning { count += counts[.critical] ?? 0 }
    switch bound {
    case .count(let most): return (count, count > most)
    case .share(let most): return (count, Double(count) > most * Double(board.entries.count))
    }
  }
}
