import Telemetry

/// The sequences of one chain that are held whole, as runs without a gap, with the digests at the
/// edges of each run and no others. So it is as large as there are gaps, not as there are batches.
struct SequenceRuns: Sendable, Hashable {
  struct Run: Sendable, Hashable {
    var first: Int64
    var last: Int64
    /// What the first batch says is the digest of the batch before it.
    var firstPrevious: Digest
    var firstDigest: Digest
    var lastDigest: Digest
  }

  /// In ascending order, with at least one missing sequence between two of them.
  private(set) var runs: [Run] = []

  /// The last sequence before the first gap; 0 when sequence 1 is not held.
  var highWater: Int64 {
    guard let run = runs.first, run.first == 1 else { return 0 }
    return run.last
  }

  /// The highest sequence that is held; 0 when there is none.
  var highest: Int64 { runs.last?.last ?? 0 }

  /// The index of the first run that ends at or above `sequence`.
  private func position(of sequence: Int64) -> Int {
    var low = 0
    var high = runs.count
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].last < sequence { low = middle + 1 } else { high = middle }
    }
    return low
  }

  func contains(_ sequence: Int64) -> Bool {
    let i = position(of: sequence)
    return i < runs.count && runs[i].first <= sequence
  }

  /// The digest of a sequence, if it is held and stands at an edge.
  func digest(of sequence: Int64) -> Digest? {
    let i = position(of: sequence)
    guard i < runs.count else { return nil }
    if runs[i].last == sequence { return runs[i].lastDigest }
    return runs[i].first == sequence ? runs[i].firstDigest : nil
  }

  /// A digest held here that contradicts a batch which is not: that of the batch before it, or what
  /// the batch after it says that its own should be. Nil when all links fit.
  func contradiction(sequence: Int64, digest: Digest, previous: Digest) -> Digest? {
    if sequence == 1, previous != .zero { return .zero }
    let i = position(of: sequence)
    if i > 0, runs[i - 1].last == sequence - 1, runs[i - 1].lastDigest != previous {
      return runs[i - 1].lastDigest
    }
    if i < runs.count, runs[i].first == sequence + 1, runs[i].firstPrevious != digest {
      return runs[i].firstPrevious
    }
    return nil
  }

  /// Adds a sequence that is not held yet, and closes the gap if it was the last one in it.
  mutating func insert(_ sequence: Int64, digest: Digest, previous: Digest) {
    let i = position(of: sequence)
    let below = i > 0 && runs[i - 1].last == sequence - 1
    let above = i < runs.count && runs[i].first == sequence + 1
    switch (below, above) {
    case (true, true):
      runs[i - 1].last = runs[i].last
      runs[i - 1].lastDigest = runs[i].lastDigest
      runs.remove(at: i)
    case (true, false):
      runs[i - 1].last = sequence
      runs[i - 1].lastDigest = digest
    case (false, true):
      runs[i].first = sequence
      runs[i].firstPrevious = previous
      runs[i].firstDigest = digest
    case (false, false):
      let run = Run(
        first: sequence, last: sequence, firstPrevious: previous, firstDigest: digest,
        lastDigest: digest)
      runs.insert(run, at: i)
    }
  }
}
