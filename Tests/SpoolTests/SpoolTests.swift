import Glibc
import Telemetry
import Testing

@testable import Spool

@Suite("The spool as a whole")
struct SpoolTests {
  let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  /// A spool with 6 messages taken, 4 sealed as one batch, closed.
  private func filled() throws -> (log: LogID, epoch: Epoch, client: String) {
    let spool = try folder.open()
    var state = try spool.register(folder)
    for start in [0, 2, 4] { try spool.log.append(Fixture.group(start..<start + 2)) }
    try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
    let client = try spool.state.clientID(source: "floor") { "client-1" }
    try spool.mirror()
    spool.close()
    return (spool.log.id, state.epoch, client)
  }

  private func copy(_ from: String, _ to: String) throws {
    try FileSystem.replace(to, with: try FileSystem.read(from))
  }

  @Test("belongs to one daemon at a time")
  func lock() throws {
    let spool = try folder.open()
    let error = #expect(throws: SpoolError.self) { try folder.open() }
    #expect(error?.kind == .busy)
    #expect("\(try #require(error))".contains("another forebay runs"))
    withExtendedLifetime(spool) {}
  }

  @Test("refuses a file that a newer version wrote, and leaves it as it is")
  func newer() throws {
    _ = try filled()
    folder.tamper(folder.statePath, "PRAGMA user_version = 99")
    let error = #expect(throws: SpoolError.self) { try folder.open() }
    #expect(error?.kind == .newer)
    #expect(FileSystem.exists(folder.statePath))
  }

  @Test("that was cloned to another machine draws new epochs and client ids and marks what is uncertain")
  func cloned() throws {
    let before = try filled()
    let spool = try folder.open(machine: "machine-b")
    let state = try spool.register(folder)
    #expect(state.epoch != before.epoch)
    #expect(state.nextSequence == 1 && state.previousDigest == .zero)
    #expect(state.checkpoint == Offset(4) && state.possibleDuplicateUntil == Offset(6))
    #expect(try spool.state.clientID(source: "floor") { "client-2" } == "client-2")
    let sealed = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 9)
    #expect(sealed.map(\.batch.identity.epoch) == [before.epoch])
    #expect(try spool.audit().balances)
    #expect(spool.findings.count == 1)
  }

  @Test("whose state.db was restored from a copy draws a new epoch; a plain restart does not")
  func restored() throws {
    let before = try filled()
    do {
      let spool = try folder.open()
      #expect(try spool.register(folder).epoch == before.epoch)
      #expect(spool.findings.isEmpty)
      spool.close()
    }
    try copy(folder.statePath, folder.statePath + ".copy")
    rename(folder.statePath + ".copy", folder.statePath)
    let spool = try folder.open()
    #expect(try spool.register(folder).epoch != before.epoch)
  }

  @Test(
    "with a damaged state.db begins again at the mirrored marks, as possible duplicates, on the same broker session")
  func stateDamaged() throws {
    let before = try filled()
    folder.overwrite(folder.statePath, at: 0, with: Array("this is no database at all".utf8))
    let spool = try folder.open(wall: 77_000_000_000)
    let state = try spool.register(folder)
    #expect(state.epoch != before.epoch)
    // The only batch was not delivered, so its readings are read again.
    #expect(state.checkpoint == Offset(0) && state.possibleDuplicateUntil == Offset(6))
    #expect(try spool.state.clientID(source: "floor") { "client-2" } == "client-1")
    #expect(FileSystem.exists(folder.settings.directory + "/quarantine/77-state.db"))
    #expect(FileSystem.exists(folder.settings.directory + "/quarantine/77-state.db.reason.txt"))
    #expect(try spool.state.faults().map(\.kind).contains("state-rebuilt"))
    #expect(try spool.audit().balances)
  }

  @Test("with a damaged state.db goes on behind what is known to be delivered")
  func stateDamagedDelivered() throws {
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      try spool.log.append(Fixture.group(0..<6))
      try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
      try spool.state.confirm(
        try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).map(\.id))
      try spool.mirror()
      spool.close()
    }
    folder.overwrite(folder.statePath, at: 0, with: Array("this is no database at all".utf8))
    let spool = try folder.open()
    #expect(try spool.register(folder).checkpoint == Offset(4))
    #expect(try spool.audit().balances)
  }

  @Test("that has lost state.db and mirror reads everything again that is left")
  func everythingButTheLogLost() throws {
    _ = try filled()
    unlink(folder.statePath)
    unlink(folder.settings.directory + "/mirror.json")
    let spool = try folder.open()
    let state = try spool.register(folder)
    #expect(state.checkpoint == Offset(0) && state.possibleDuplicateUntil == Offset(6))
    #expect(try spool.audit().balances)
  }

  @Test("with a log that is no database begins one above every checkpoint and says so")
  func logLost() throws {
    let before = try filled()
    folder.overwrite(folder.logPath, at: 0, with: Array("this is no database at all".utf8))
    let spool = try folder.open()
    #expect(spool.log.id != before.log)
    #expect(try spool.log.end().next == Offset(4))
    let state = try spool.register(folder)
    #expect(state.log == spool.log.id && state.checkpoint == Offset(4))
    #expect(state.epoch == before.epoch)
    try spool.log.append(Fixture.group(0..<3))
    #expect(try spool.state.faults().map(\.kind).contains("log-replaced"))
    #expect(try spool.audit().balances)
  }

  @Test("saves the readable blocks of a damaged log at their offsets; the rest is a gap of known size")
  func logSalvaged() throws {
    let before = try filled()
    // The schema stays readable, the application id does not fit: set aside, then copied.
    folder.tamper(
      folder.logPath,
      "PRAGMA application_id = 7; UPDATE block SET body = x'0102' WHERE first = 4")
    let spool = try folder.open(wall: 5_000_000_000)
    #expect(spool.log.id == before.log)
    let state = try spool.register(folder)
    #expect(state.epoch == before.epoch && state.checkpoint == Offset(4))
    let reader = try spool.reader()
    guard case .unreadable(let first, let end, _)? = try reader.next(from: state.checkpoint) else {
      Issue.record("the gap was not seen"); return
    }
    #expect(first == Offset(4) && end == Offset(6))
    var passed = state
    passed.checkpoint = end
    try spool.state.seal(Seal(damaged: end - first, state: passed), pipeline: "climate")
    #expect(try spool.log.append(Fixture.group(0..<2)).first == Offset(6))
    #expect(try spool.audit().balances)
  }

  @Test("books a checkpoint that lies beyond the end of its log and never uses those offsets again")
  func checkpointBeyondLog() throws {
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      try spool.log.append(Fixture.group(0..<4))
      try copy(folder.logPath, folder.logPath + ".old")
      try copy(folder.logPath + "-wal", folder.logPath + ".old-wal")
      try spool.log.append(Fixture.group(4..<9))
      try spool.state.seal(Fixture.seal(&state, readings: 0..<9), pipeline: "climate")
      spool.close()
    }
    unlink(folder.logPath + "-wal")
    unlink(folder.logPath + "-shm")
    rename(folder.logPath + ".old", folder.logPath)
    rename(folder.logPath + ".old-wal", folder.logPath + "-wal")
    let spool = try folder.open()
    #expect(try spool.state.faults().map(\.kind).contains("checkpoint-beyond-log"))
    #expect(try spool.state.faults().map(\.messages).max() == 5)
    let state = try spool.register(folder)
    #expect(state.checkpoint == Offset(9))
    #expect(try spool.log.append(Fixture.group(0..<1)).first == Offset(9))
    #expect(try spool.audit().balances)
  }

  @Test("stops taking in at 85 % of its cap and goes on below 75 %, and sealing may go further")
  func gauge() {
    var gauge = SpaceGauge(maximum: 1_000, minimumFree: 100)
    gauge.update(used: 849, free: 1 << 30)
    #expect(gauge.parked == nil)
    gauge.update(used: 850, free: 1 << 30)
    #expect(gauge.parked != nil)
    #expect(gauge.maySeal(used: 999, free: 1 << 30))
    #expect(!gauge.maySeal(used: 1_000, free: 1 << 30))
    gauge.update(used: 750, free: 1 << 30)
    #expect(gauge.parked != nil)
    gauge.update(used: 749, free: 1 << 30)
    #expect(gauge.parked == nil)
  }

  @Test("stops taking in below the minimum of free disk and goes on well above it")
  func freeDisk() {
    var gauge = SpaceGauge(maximum: 1 << 40, minimumFree: 100 << 20)
    gauge.update(used: 0, free: (100 << 20) - 1)
    #expect(gauge.parked?.contains("free") == true)
    gauge.update(used: 0, free: 105 << 20)
    #expect(gauge.parked != nil)
    gauge.update(used: 0, free: 110 << 20)
    #expect(gauge.parked == nil)
    #expect(gauge.isShort(used: 0, free: 110 << 20))
  }

  @Test("keeps a ballast that it can give up")
  func ballast() throws {
    let spool = try folder.open()
    let path = folder.settings.directory + "/ballast"
    #expect(FileSystem.size(path) == 4 << 20)
    spool.ballast.release()
    #expect(!FileSystem.exists(path))
    spool.ballast.take()
    #expect(FileSystem.size(path) == 4 << 20)
  }
}
