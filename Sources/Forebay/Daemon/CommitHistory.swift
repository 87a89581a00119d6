internal import Telemetry

/// The last commits of the log, in memory: how old something that has just come is, and when it was safe, is known
/// without asking the log.
struct CommitHistory {
  struct Commit {
    var first: Offset
    var end: Offset
    /// Payload bytes.
    var bytes: Int64
    /// The receipt of its first message.
    var received: Moment
    /// Monotonic nanoseconds.
    var began: Int64
    var ended: Int64
  }

  /// Half a minute of 20 groups a second, in some 60 kB.
  static let limit = 512

  /// A ring, in the order of the log from `start` on.
  private var commits: [Commit] = []
  private var start = 0

  mutating func add(_ commit: Commit) {
    guard commits.count == CommitHistory.limit else { return commits.append(commit) }
    commits[start] = commit
    start = (start + 1) % CommitHistory.limit
  }

  private func at(_ index: Int) -> Commit { commits[(start + index) % commits.count] }

  /// The commit that `offset` came with; nil where it is too old, or yet to come.
  func commit(of offset: Offset) -> Commit? { place(of: offset).map(at) }

  private func place(of offset: Offset) -> Int? {
    var low = 0
    var high = commits.count
    while low < high {
      let middle = (low + high) / 2
      if at(middle).end <= offset { low = middle + 1 } else { high = middle }
    }
    return low < commits.count && at(low).first <= offset ? low : nil
  }

  /// What lies behind `offset`: payload bytes, of its own group the share, and the receipt of the first message of
  /// that group. Nil where it is too old to be known here.
  func stretch(from offset: Offset) -> (bytes: Int64, oldest: Moment)? {
    guard let place = place(of: offset) else { return nil }
    let own = at(place)
    var bytes = Int64(Double(own.bytes) * Double(own.end - offset) / Double(max(1, own.end - own.first)))
    for index in (place + 1)..<max(place + 1, commits.count) { bytes += at(index).bytes }
    return (bytes, own.received)
  }
}
