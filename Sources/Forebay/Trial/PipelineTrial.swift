internal import Pipeline
internal import Telemetry

/// Runs a pipeline over records for somebody who wants to see what it makes of them. It begins without any memory,
/// and nothing of it is stored.
struct PipelineTrial {
  /// A reading as it would be delivered.
  struct Reading {
    /// Of the record behind which it came out; nil where that cannot be told.
    var offset: Offset?
    /// Without its line feed.
    var line: [UInt8]
  }

  /// What came of the records since the last portion.
  struct Portion {
    var readings: [Reading] = []
    var rejections: [Rejection] = []
    var counters = LedgerCounters()
    /// The chained digest of the lines, where all of them are in this portion.
    var digest: Digest?
  }

  /// Batches do not matter here: they close when a portion is wanted, and only then. A bound, so that sums of it
  /// overflow nowhere.
  private static let unbounded = 1 << 40

  let settings: PipelineSettings
  let version: String
  private var core: PipelineCore
  /// How many lines came out behind which record.
  private var origins: [(offset: Offset, count: Int)] = []
  private var last: Moment?

  /// - Parameters:
  ///   - first: the first offset that will come, in the log of that name.
  ///   - identity: whose chain the portions' digests stand in; nil: of no matter.
  /// - Throws: what makes a pipeline impossible.
  init(
    settings: PipelineSettings, version: String, log: LogID, first: Offset, identity: BatchIdentity? = nil,
    previous: Digest = .zero
  ) throws {
    self.settings = settings
    self.version = version
    var trial = settings
    trial.batch.maximumBytes = PipelineTrial.unbounded
    trial.batch.maximumCount = PipelineTrial.unbounded
    trial.batch.maximumAge = .max
    trial.batch.encoding = .ndjson
    trial.batch.compression = .none
    core = try PipelineCore(
      settings: trial, version: version,
      state: PipelineState(
        gateway: identity?.gateway ?? "trial", epoch: identity?.epoch ?? Epoch(random: 0),
        nextSequence: identity?.sequence ?? 1, previousDigest: previous, log: log, checkpoint: first))
  }

  /// Bytes in memory until the next portion.
  var bytes: Int { core.openBytes + core.sealableBytes }
  /// Records since the last portion out of which something came.
  var pending: Int { origins.count }

  func interested(in origin: Origin) -> Bool { core.interested(in: origin) }

  /// Runs the next record. Those that are left out before it are none that count.
  mutating func take(_ record: Record, of log: LogID) {
    core.skip(to: record.offset)
    var group = MessageGroup(boot: record.message.received.boot)
    group.append(record.message)
    let before = core.openReadings
    core.process(LogBlock(log: log, first: record.offset, group: group), now: record.message.received)
    if core.openReadings > before { origins.append((record.offset, core.openReadings - before)) }
    last = record.message.received
  }

  /// What came of the records since the last one.
  mutating func portion() throws -> Portion {
    if let last { core.drainWindows(last) }
    guard let seal = try core.nextSeal() else { return Portion() }
    core.sealed(seal)
    var portion = Portion(rejections: seal.rejections, counters: seal.counters)
    portion.digest = seal.batches.count == 1 ? seal.batches.first?.digest : nil
    let lines = seal.batches.flatMap { $0.body.split(separator: UInt8(ascii: "\n")) }
    // Whatever closed a batch behind our back must not put lines down to the wrong record.
    let known = origins.reduce(0) { $0 + $1.count } == lines.count
    var offsets = origins.flatMap { repeatElement($0.offset, count: $0.count) }.makeIterator()
    portion.readings = lines.map { Reading(offset: known ? offsets.next() : nil, line: Array($0)) }
    origins.removeAll(keepingCapacity: true)
    return portion
  }

  /// The last portion: what the stages still hold back comes out as well.
  mutating func finish() throws -> Portion { try portion() }
}
