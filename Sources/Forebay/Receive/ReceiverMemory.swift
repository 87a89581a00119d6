import Telemetry

/// What a receiver remembers in order to take each reading exactly once (docs/delivery-protocol.md).
///
/// Per chain: the sequences held whole (``SequenceRuns``), and for each sequence in a gap of which
/// something is known, the lines that were taken and those that were refused. It grows with the gaps
/// and not with the batches: of a whole batch well below the high-water mark only its place is
/// known, and its sender is told "has it" without a look at the digest.
///
/// A value without I/O: the store's records, replayed in their order, give the same memory again.
struct ReceiverMemory: Sendable, Hashable {
  enum Decision: Sendable, Hashable {
    /// A whole batch, no line of which is held.
    case new
    /// Lines of the whole batch that are lacking and that this body holds. Ascending, not empty.
    case takeLines([Range<Int>])
    /// Every line is held already.
    case hasIt
    /// The sequence exists with another digest, which is `held`.
    case conflict(held: Digest)
    /// A neighbour in the chain contradicts this batch: `held` is what the digest before it, or its
    /// own, would have to be.
    case brokenLink(held: Digest)
  }

  /// A sequence that is not held whole.
  struct Partial: Sendable, Hashable {
    /// The whole batch as the first part that was taken describes it.
    var whole: Batch.Parent
    var taken = RangeSet<Int>()
    /// Refused for good and not taken since.
    var refused = RangeSet<Int>()

    var isComplete: Bool { taken.isSuperset(of: RangeSet(0..<whole.count)) }
  }

  struct Chain: Sendable, Hashable {
    var runs = SequenceRuns()
    var partials: [Int64: Partial] = [:]

    mutating func take(_ label: BatchLabel, lines: [Range<Int>]) {
      let sequence = label.identity.sequence
      guard !runs.contains(sequence) else { return }
      var partial = partials.removeValue(forKey: sequence) ?? Partial(whole: label.whole)
      // What only a refusal said about the whole is worth nothing beside a body that was verified.
      if partial.taken.isEmpty { partial.whole = label.whole }
      for range in lines {
        partial.taken.insert(contentsOf: range)
        partial.refused.remove(contentsOf: range)
      }
      if partial.isComplete {
        runs.insert(sequence, digest: partial.whole.digest, previous: partial.whole.previous)
      } else {
        partials[sequence] = partial
      }
    }

    mutating func refuse(_ label: BatchLabel) {
      let sequence = label.identity.sequence
      guard !runs.contains(sequence) else { return }
      var partial = partials.removeValue(forKey: sequence) ?? Partial(whole: label.whole)
      partial.refused.insert(contentsOf: label.lines)
      partial.refused.subtract(partial.taken)
      partials[sequence] = partial
    }
  }

  private(set) var chains: [ChainKey: Chain] = [:]

  /// What to do with a batch whose body has been found to be what its label says.
  func decide(_ label: BatchLabel) -> Decision {
    let whole = label.whole
    let sequence = label.identity.sequence
    let chain = chains[label.chain] ?? Chain()
    if chain.runs.contains(sequence) {
      if let held = chain.runs.digest(of: sequence), held != whole.digest {
        return .conflict(held: held)
      }
      return .hasIt
    }
    if let held = chain.runs.contradiction(
      sequence: sequence, digest: whole.digest, previous: whole.previous)
    {
      return .brokenLink(held: held)
    }
    guard let partial = chain.partials[sequence], !partial.taken.isEmpty else {
      return label.parent == nil ? .new : .takeLines([label.lines])
    }
    guard partial.whole == whole else { return .conflict(held: partial.whole.digest) }
    let lacking = RangeSet(label.lines).subtracting(partial.taken)
    return lacking.isEmpty ? .hasIt : .takeLines(Array(lacking.ranges))
  }

  /// Remembers that `lines` of the batch were taken, as ``decide(_:)`` said.
  mutating func take(_ label: BatchLabel, lines: [Range<Int>]) {
    chains[label.chain, default: Chain()].take(label, lines: lines)
  }

  /// Remembers that the batch was refused for good, so that the gap is accounted for.
  mutating func refuse(_ label: BatchLabel) {
    chains[label.chain, default: Chain()].refuse(label)
  }
}
