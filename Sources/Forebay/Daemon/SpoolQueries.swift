internal import FoundationEssentials
internal import Pipeline
internal import Spool
internal import Status
internal import Telemetry

/// What the API tells of the spool, read as the commands read it: with connections of its own, beside the daemon's,
/// so that neither intake nor pipelines wait for somebody who looks. Blocks; answers are bounded.
struct SpoolQueries {
  /// Bytes of a payload that are shown.
  static let previewBytes = 65_536
  /// Rows of lists that are given whole.
  static let listed = 500

  /// The folder.
  var spool: String

  func state<R>(_ body: (StateStore) throws -> R) throws -> R {
    let state = try StateStore(path: Spool.statePath(spool))
    defer { state.close() }
    return try body(state)
  }

  func reader() throws -> LogReader { try LogReader(path: Spool.logPath(spool)) }

  // MARK: Dead letters

  private struct LetterPage: Encodable {
    var deadLetters: [DeadLetterReport]
    /// What the next page begins behind; absent on the last.
    var next: String?
  }

  private struct Letter: Encodable {
    var letter: DeadLetterReport
    /// The payload, where it is printable UTF-8.
    var text: String?
    /// In base 64; absent where the pipeline withholds it.
    var payload: String?
    /// Only the beginning is shown.
    var isTruncated: Bool
  }

  static func filter(_ query: DeadLetterQuery) -> DeadLetterFilter {
    DeadLetterFilter(pipeline: query.pipeline, stage: query.stage, rule: query.rule)
  }

  func deadLetters(_ query: DeadLetterQuery, _ page: StatusQuestion.Page) throws -> [UInt8] {
    guard let after = page.after.map({ Int64($0) }) ?? 0, after >= 0 else {
      throw StatusFault(.invalid, "'after' is the number of a dead letter")
    }
    return try state { state in
      try SpoolQueries.check(query, state)
      let letters = try state.deadLetters(SpoolQueries.filter(query), after: after, limit: page.limit)
      return try SpoolQueries.json(
        LetterPage(
          deadLetters: letters.map { DeadLetterReport($0, withPayload: false) },
          next: letters.count == page.limit ? letters.last.map { String($0.letter.id) } : nil))
    }
  }

  func deadLetterCounts(_ query: DeadLetterQuery) throws -> [UInt8] {
    try state { state in
      try SpoolQueries.check(query, state)
      let counts = try state.deadLetterCounts(SpoolQueries.filter(query))
      return try SpoolQueries.json([
        "counts": counts.prefix(SpoolQueries.listed).map(DeadLettersCommand.Counts.Count.init)
      ])
    }
  }

  func deadLetter(_ id: Int64) throws -> [UInt8] {
    try state { state in
      guard let stored = try state.deadLetters(DeadLetterFilter(ids: [id]), limit: 1).first else {
        throw StatusFault(.unknown, "there is no dead letter \(id)")
      }
      var report = DeadLetterReport(stored, withPayload: false)
      guard !report.withheld else {
        let rejection = stored.letter.rejection
        if case .message = try reader().message(at: rejection.offset, of: rejection.log) {
          report.inLog = true
        } else {
          report.inLog = false
        }
        return try SpoolQueries.json(Letter(letter: report, text: nil, payload: nil, isTruncated: false))
      }
      let payload = stored.letter.rejection.payload
      let shown = Array(payload.prefix(SpoolQueries.previewBytes))
      return try SpoolQueries.json(
        Letter(
          letter: report, text: Dump.printable(shown), payload: Data(shown).base64EncodedString(),
          isTruncated: shown.count < payload.count))
    }
  }

  /// - Throws: where the pipeline that was named is none that this spool knows.
  static func check(_ query: DeadLetterQuery, _ state: StateStore) throws {
    guard let name = query.pipeline else { return }
    guard try state.books().contains(where: { $0.pipeline == name }) else {
      throw StatusFault(.unknown, "there is no pipeline \(name)")
    }
  }

  // MARK: Pipelines

  private struct DevicePage: Encodable {
    var pipeline: String
    var version: String
    var log: String
    /// The first message that is not counted.
    var upToOffset: Int64
    /// How many devices are remembered, shown or not.
    var known: Int
    var devices: [DeviceReport]
    /// What the next page begins behind; absent on the last.
    var next: String?
  }

  func devices(of pipeline: String, _ page: StatusQuestion.Page) throws -> [UInt8] {
    guard let stored = try StoredStages.read([.sequence, .drift], of: pipeline, in: spool) else {
      throw StatusFault(.unknown, "there is no pipeline \(pipeline)")
    }
    guard let settings = PipelineWorker.assignments(keptIn: spool)(pipeline, stored.configuration)?.settings else {
      throw StatusFault(.unavailable, "the settings that pipeline \(pipeline) runs under cannot be read")
    }
    let list = try DeviceList(stored.stages, settings: settings)
    let (devices, next) = list.devices(after: page.after, limit: page.limit)
    return try SpoolQueries.json(
      DevicePage(
        pipeline: pipeline, version: stored.version, log: stored.log.rawValue,
        upToOffset: stored.checkpoint.rawValue, known: list.count, devices: devices, next: next))
  }

  // MARK: Replays, lineage, books

  func replays(_ note: (ReplayID, String)?) throws -> [UInt8] {
    try state { state in
      let replays = try state.replays().suffix(SpoolQueries.listed)
      return try SpoolQueries.json([
        "replays": replays.map { ReplayReport($0, waitsFor: note?.0 == $0.id ? note?.1 : nil) }
      ])
    }
  }

  func lineage(of batch: String) throws -> [UInt8] {
    guard let name = BatchName(batch) else {
      throw StatusFault(.invalid, "a batch is gateway/pipeline/epoch/sequence, or pipeline/sequence")
    }
    return try state { state in
      let reader = try reader()
      guard let identity = try name.identity(in: state),
        let account = try BatchAccount(identity, in: state, reader, spool: spool)
      else { throw StatusFault(.unknown, "nothing is known of batch \(batch)") }
      let topics = account.isWhollyKept ? try account.topics(in: reader) : []
      return try SpoolQueries.json(
        OpenLineageEvent(account, topics: Array(topics.prefix(SpoolQueries.listed))))
    }
  }

  func ledger() throws -> [UInt8] {
    var report = AuditReport(try Audit.take(directory: spool))
    report.faults = Array(report.faults.suffix(SpoolQueries.listed))
    return try SpoolQueries.json(report)
  }

  static func json(_ value: some Encodable) throws -> [UInt8] {
    Array(try Output.json(value, pretty: false).utf8)
  }
}

extension DeadLettersCommand.Counts.Count {
  init(_ count: DeadLetterCount) {
    self.init(
      pipeline: count.pipeline, stage: count.stage, rule: count.rule, count: count.count, bytes: count.bytes,
      first: count.first.map(RFC3339.text), last: count.last.map(RFC3339.text), expired: count.expired)
  }
}

extension DeviceList {
  /// A page in the order of the devices' keys.
  /// - Parameter after: the last device of the page before, as it is shown.
  func devices(after: String?, limit: Int) -> (devices: [DeviceReport], next: String?) {
    let all = devices(worst: false, limit: .max)
    let start = after.map { name in (all.firstIndex { $0.device == name } ?? -1) + 1 } ?? 0
    let page = Array(all[start...].prefix(limit))
    return (page, start + page.count < all.count ? page.last?.device : nil)
  }
}
