internal import FoundationEssentials
internal import Pipeline
internal import Spool
internal import Telemetry

extension PipelineExplanation {
  /// As the spool keeps it.
  var encoded: [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Texts and numbers always can be encoded; and a pipeline must run also if it could not be explained.
    return (try? encoder.encode(self)).map { Array($0) } ?? []
  }

  init?(encoded bytes: [UInt8]) {
    guard let decoded = try? JSONDecoder().decode(PipelineExplanation.self, from: Data(bytes)) else { return nil }
    self = decoded
  }
}

/// Everything that is known of a batch.
struct BatchAccount {
  /// The whole batch, also where it was split; then without its own fate.
  var batch: BatchLineage
  /// The parts that it was split into, in the order of their lines; empty for one that was not.
  var parts: [BatchLineage]
  /// The whole batches before and after it in its chain, where they are known.
  var before: BatchLineage?
  var after: BatchLineage?
  /// When its version first ran, in wall nanoseconds; nil where the version is no longer known.
  var versionSince: Int64?
  var explanation: PipelineExplanation?
  /// The configuration that the version was read from.
  var configuration: [UInt8]?
  /// The folder of the spool, beside which the files lie that shaped the version.
  private let spool: String
  /// What of its messages is still kept: offsets first ..< end; nil for nothing.
  var kept: (first: Offset, end: Offset)?

  /// Nil where nothing is known of it.
  /// - Parameter identity: of the batch or of one of its parts.
  init?(_ identity: BatchIdentity, in state: StateStore, _ reader: LogReader, spool: String) throws {
    self.spool = spool
    let whole = identity.whole
    let found = try state.lineage(of: whole)
    guard let first = found.first else { return nil }
    batch = BatchAccount.whole(first)
    parts = found.filter { $0.identity.part != nil }
    if identity.part != nil { parts = parts.filter { $0.identity == identity } }
    if identity.part != nil, parts.isEmpty { return nil }
    func neighbour(_ step: Int64) throws -> BatchLineage? {
      var other = whole
      other.sequence += step
      return other.sequence < 1 ? nil : try state.lineage(of: other).first.map(BatchAccount.whole)
    }
    before = try neighbour(-1)
    after = try neighbour(1)
    if let version = try state.version(batch.version, of: whole.pipeline) {
      versionSince = version.since
      explanation = PipelineExplanation(encoded: version.explanation)
      configuration = version.configuration
    }
    if reader.names.contains(batch.log) {
      let start = max(batch.firstOffset, try reader.start())
      let end = min(batch.lastOffset + 1, try reader.end().next)
      if start < end { kept = (start, end) }
    }
  }

  /// The batch that a part was split from; itself for a whole one.
  private static func whole(_ batch: BatchLineage) -> BatchLineage {
    guard let parent = batch.parent else { return batch }
    var whole = batch
    whole.identity = batch.identity.whole
    whole.digest = parent.digest
    whole.previous = parent.previous
    whole.count = parent.count
    whole.length = parent.length
    whole.parent = nil
    whole.left = nil
    return whole
  }

  /// Whether none of its messages has been deleted.
  var isWhollyKept: Bool { kept.map { $0.first == batch.firstOffset && $0.end > batch.lastOffset } ?? false }

  /// Whether the batches beside it have the digests that the chain wants; nil where the neighbour is not known.
  var followsBefore: Bool? {
    batch.identity.sequence == 1 ? batch.previous == .zero : before.map { $0.digest == batch.previous }
  }
  var precedesAfter: Bool? { after.map { $0.previous == batch.digest } }

  /// The settings of the batch's version, read from the configuration that is kept, and nil where that gives
  /// another version today.
  var settings: PipelineSettings? {
    guard let configuration,
      let assignment = PipelineWorker.assignments(keptIn: spool)(batch.identity.pipeline, configuration),
      assignment.version == batch.version
    else { return nil }
    return assignment.settings
  }

  /// The topics of the messages between the batch's offsets that its version takes, with how many there are.
  /// Empty where they are no longer kept.
  func topics(in reader: LogReader) throws -> [(origin: Origin, messages: Int, bytes: Int)] {
    guard let kept else { return [] }
    let filters = explanation?.topics.compactMap { text in try? TopicFilter(parsing: text) }
    func isTaken(_ origin: Origin) -> Bool {
      (explanation?.sources?.contains(origin.source) ?? true)
        && (filters?.contains { $0.matches(origin.topic) } ?? true)
    }
    var counts: [Origin: (messages: Int, bytes: Int)] = [:]
    var offset = kept.first
    while offset < kept.end {
      switch try reader.next(from: offset, interested: isTaken) {
      case nil: offset = kept.end
      case .uninteresting(_, let end), .unreadable(_, let end, _): offset = end
      case .block(let block):
        for (index, entry) in block.group.entries.enumerated() {
          let place = block.first + index
          let origin = block.group.origins[entry.origin]
          guard place >= offset, place < kept.end, isTaken(origin) else { continue }
          counts[origin, default: (0, 0)].messages += 1
          counts[origin, default: (0, 0)].bytes += entry.payloadRange.count
        }
        offset = block.end
      }
    }
    return counts.map { ($0.key, $0.value.messages, $0.value.bytes) }
      .sorted { ($0.0.source, $0.0.topic) < ($1.0.source, $1.0.topic) }
  }
}
