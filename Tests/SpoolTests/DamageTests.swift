import Glibc
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Spool

@Suite("A spool that was damaged")
struct DamageTests {
  let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  @Test(
    "with a damaged state.db begins again at the mirrored marks, as possible duplicates, on the same broker session")
  func stateDamaged() throws {
    let before = try folder.fill()
    folder.overwrite(folder.statePath, at: 0, with: Array("this is no database at all".utf8))
    let spool = try folder.open(wall: 77_000_000_000)
    let state = try spool.register(folder)
    #expect(state.epoch != before.epoch)
    // The only batch was not delivered, so its readings are read again.
    #expect(state.checkpoint == Offset(0) && state.possibleDuplicateUntil == Offset(6))
    #expect(try spool.state.clientID(source: "floor") { "client-2" } == "client-1")
    #expect(FileSystem.exists(folder.settings.directory + "/quarantine/77000000000-state.db"))
    #expect(FileSystem.exists(folder.settings.directory + "/quarantine/77000000000-state.db.reason.txt"))
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
    _ = try folder.fill()
    unlink(folder.statePath)
    unlink(folder.settings.directory + "/mirror.json")
    let spool = try folder.open()
    let state = try spool.register(folder)
    #expect(state.checkpoint == Offset(0) && state.possibleDuplicateUntil == Offset(6))
    #expect(try spool.audit().balances)
  }

  @Test("with a log that is no database goes on behind its mirrored end and books what is gone")
  func logLost() throws {
    let before = try folder.fill()
    folder.overwrite(folder.logPath, at: 0, with: Array("this is no database at all".utf8))
    let spool = try folder.open()
    #expect(spool.log.id == before.log)
    #expect(try spool.log.end().next == Offset(6))
    let state = try spool.register(folder)
    #expect(state.checkpoint == Offset(4) && state.epoch == before.epoch)
    try expectGap(in: spool, state, 4..<6)
  }

  @Test("with a log that is no database and no mirror goes on behind the furthest checkpoint")
  func logAndMirrorLost() throws {
    let before = try folder.fill()
    unlink(Spool.mirrorPath(folder.settings.directory))
    folder.overwrite(folder.logPath, at: 0, with: Array("this is no database at all".utf8))
    let spool = try folder.open()
    #expect(spool.log.id == before.log)
    #expect(try spool.log.append(Fixture.group(0..<3)).first == Offset(4))
    #expect(try spool.register(folder).checkpoint == Offset(4))
    #expect(try spool.audit().balances)
  }

  @Test("begins a log above every checkpoint when the file is gone, and says so")
  func logGone() throws {
    let before = try folder.fill()
    unlink(folder.logPath)
    unlink(folder.logPath + "-wal")
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

  /// Checks that a pipeline meets a gap, and that the books balance once it has passed it.
  private func expectGap(
    in spool: Spool, _ state: PipelineState, _ range: Range<Int64>,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let reader = try spool.reader()
    guard case .unreadable(let first, let end, _)? = try reader.next(from: state.checkpoint) else {
      Issue.record("the gap was not seen", sourceLocation: sourceLocation)
      return
    }
    #expect(first.rawValue..<end.rawValue == range, sourceLocation: sourceLocation)
    var passed = state
    passed.checkpoint = end
    try spool.state.seal(Seal(counters: .init { $0.damaged = end - first }, state: passed), pipeline: "climate")
    #expect(try spool.audit().balances, sourceLocation: sourceLocation)
  }

  @Test("saves the readable blocks of a damaged log at their offsets; the rest is a gap of known size")
  func logSalvaged() throws {
    let before = try folder.fill()
    // The schema stays readable, the application id does not fit: set aside, then copied.
    folder.tamper(
      folder.logPath,
      "PRAGMA application_id = 7; UPDATE block SET body = x'0102' WHERE first = 4")
    let spool = try folder.open(wall: 5_000_000_000)
    #expect(spool.log.id == before.log)
    let state = try spool.register(folder)
    #expect(state.epoch == before.epoch && state.checkpoint == Offset(4))
    try expectGap(in: spool, state, 4..<6)
    #expect(try spool.log.append(Fixture.group(0..<2)).first == Offset(6))
    #expect(try spool.audit().balances)
  }

  @Test("books a checkpoint that lies beyond the end of its log and never uses those offsets again")
  func checkpointBeyondLog() throws {
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      try spool.log.append(Fixture.group(0..<4))
      try folder.copy(folder.logPath, folder.logPath + ".old")
      try folder.copy(folder.logPath + "-wal", folder.logPath + ".old-wal")
      try spool.log.append(Fixture.group(4..<9))
      try spool.state.seal(Fixture.seal(&state, readings: 0..<9), pipeline: "climate")
      spool.close()
    }
    unlink(folder.logPath + "-wal")
    unlink(folder.logPath + "-shm")
    rename(folder.logPath + ".old", folder.logPath)
    rename(folder.logPath + ".old-wal", folder.logPath + "-wal")
    let spool = try folder.open()
    #expect(spool.findings.contains { $0.contains("the log goes on at offset 9") })
    let state = try spool.register(folder)
    #expect(state.checkpoint == Offset(9))
    #expect(try spool.log.append(Fixture.group(0..<1)).first == Offset(9))
    #expect(try spool.audit().balances)
  }

  @Test("whose log has lost its end while messages waited there books them and never uses their offsets again")
  func logRolledBack() throws {
    do {
      let spool = try folder.open()
      _ = try spool.register(folder)
      try spool.log.append(Fixture.group(0..<4))
      try folder.copy(folder.logPath, folder.logPath + ".old")
      try folder.copy(folder.logPath + "-wal", folder.logPath + ".old-wal")
      try spool.log.append(Fixture.group(4..<9))
      try spool.mirror()
      spool.close()
    }
    unlink(folder.logPath + "-wal")
    unlink(folder.logPath + "-shm")
    rename(folder.logPath + ".old", folder.logPath)
    rename(folder.logPath + ".old-wal", folder.logPath + "-wal")
    let spool = try folder.open()
    var state = try spool.register(folder)
    #expect(try spool.log.end().next == Offset(9))
    try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
    try expectGap(in: spool, state, 4..<9)
  }

  @Test("whose state.db went back behind its mirrored marks uses none of the sequences again")
  func stateRolledBack() throws {
    let before = try folder.fill()
    let old = try FileSystem.read(folder.statePath)
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      try spool.state.seal(Fixture.seal(&state, readings: 4..<6), pipeline: "climate")
      try spool.mirror()
      spool.close()
    }
    // Written over, in place: the file is the same, its content is older.
    truncate(folder.statePath, off_t(old.count))
    folder.overwrite(folder.statePath, at: 0, with: old)
    let spool = try folder.open()
    let state = try spool.register(folder)
    #expect(state.epoch != before.epoch && state.nextSequence == 1)
    #expect(state.checkpoint == Offset(4) && state.possibleDuplicateUntil == Offset(6))
    #expect(try spool.state.faults().map(\.kind).contains("state-rolled-back"))
    #expect(try spool.audit().balances)
  }

  @Test("whose state.db went back behind the birth of a pipeline begins that one at its mirrored mark")
  func pipelineForgotten() throws {
    do {
      let spool = try folder.open()
      _ = try spool.register(folder, [PipelineRegistration(name: "other", uplink: "central", version: "v1")])
      spool.close()
    }
    let old = try FileSystem.read(folder.statePath)
    _ = try folder.fill()
    truncate(folder.statePath, off_t(old.count))
    folder.overwrite(folder.statePath, at: 0, with: old)
    let spool = try folder.open()
    let state = try spool.register(folder)
    #expect(state.checkpoint == Offset(0) && state.possibleDuplicateUntil == Offset(6))
    #expect(try spool.audit().balances)
  }

  @Test(
    "found damaged while in use is rebuilt at the next opening; what is whole goes on as it was",
    arguments: [Database.log, .state])
  func damagedInUse(database: Database) throws {
    let before = try folder.fill()
    do {
      let spool = try folder.open()
      let reasons = Mutex<[String]>([])
      spool.onDamage { reason in reasons.withLock { $0.append(reason) } }
      let path = database == .log ? folder.logPath : folder.statePath
      for _ in 0..<2 {
        spool.examine(
          SpoolError(kind: .damaged, operation: "SELECT", path: path, cause: "malformed", hint: nil), wall: 8)
      }
      spool.examine(SpoolError(kind: .full, operation: "COMMIT", path: path, cause: "full", hint: nil), wall: 8)
      #expect(reasons.withLock { $0 } == ["SELECT \(path): malformed"])
      spool.close()
    }
    do {
      let spool = try folder.open()
      #expect(spool.findings.map { $0.contains("all of it can be read: it goes on") } == [true])
      #expect(FileSystem.names(in: folder.settings.directory + "/quarantine") == [])
      let state = try spool.register(folder)
      #expect(state.epoch == before.epoch && state.nextSequence == 2 && state.checkpoint == Offset(4))
      #expect(state.possibleDuplicateUntil == nil)
      #expect(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 9).count == 1)
      #expect(try spool.audit().balances)
      spool.close()
    }
    let again = try folder.open()
    #expect(again.findings.isEmpty)
  }

  @Test("keeps of a damaged state.db what the log cannot give again")
  func statePartlySaved() throws {
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      try spool.log.append(Fixture.group(0..<4))
      try spool.log.append(Fixture.group(4..<8))
      for start in [0, 2, 4] {
        try spool.state.seal(Fixture.seal(&state, readings: start..<start + 2), pipeline: "climate")
      }
      var rejected = state
      rejected.checkpoint = Offset(7)
      var rejection = Fixture.rejection(state, offset: 1)
      rejection.reading = 3
      rejection.isWithheld = true
      try spool.state.seal(
        Seal(rejections: [rejection], counters: .init { $0.rejected = 1 }, state: rejected),
        pipeline: "climate", now: Fixture.moment(wall: 77))
      try spool.mirror()
      spool.close()
    }
    // The first block of the log is gone; a batch of the second has lost its body.
    folder.tamper(folder.logPath, "DELETE FROM block WHERE first = 0")
    folder.tamper(folder.statePath, "PRAGMA application_id = 7; UPDATE outbox SET body = x'00' WHERE first = 4")
    let spool = try folder.open()
    let state = try spool.register(folder)
    #expect(state.checkpoint == Offset(4) && state.possibleDuplicateUntil == Offset(8))
    let saved = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 9)
    #expect(saved.map(\.batch.firstOffset) == [Offset(0), Offset(2)])
    let letters = try spool.state.deadLetters(DeadLetterFilter(), limit: 9)
    #expect(letters.map(\.letter.rejection.offset) == [Offset(1)] && letters.map(\.since) == [77])
    #expect(letters.first?.letter.rejection.reading == 3 && letters.first?.letter.rejection.isWithheld == true)
    #expect(try spool.state.deadLetterBytes()["climate"] ?? 0 > 256)
    #expect(try spool.audit().balances)
    let finding = try #require(spool.findings.first)
    #expect(finding.contains("2 batches and 1 dead letters"))
    #expect(finding.contains("2 readings could not be read"))
    // A chain of its own: what was delivered of the old one is not known any more.
    #expect(saved.allSatisfy { $0.batch.identity.epoch != state.epoch })
    #expect(state.nextSequence == 1 && state.previousDigest == .zero)
    var next = state
    try spool.state.seal(Fixture.seal(&next, readings: 4..<8), pipeline: "climate")
    #expect(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 9).last?.batch.firstOffset == Offset(4))
    #expect(try spool.audit().balances)
  }

  @Test("keeps every batch that can be read around pages that cannot")
  func batchesAroundLostPages() throws {
    let count = 200
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      try spool.log.append(Fixture.group(0..<400 * count))
      for number in 0..<count {
        let seal = Fixture.seal(&state, readings: number * 400..<(number + 1) * 400)
        try spool.state.seal(seal, pipeline: "climate")
      }
      // No pipeline is configured any more: nothing is read again, whatever the log holds.
      _ = try spool.register(folder, [])
      try spool.state.retire("climate", unread: 0, wall: 1)
      try spool.mirror()
      spool.close()
    }
    let pages = Int(FileSystem.size(folder.statePath) / 4096)
    for page in pages / 2..<pages / 2 + 4 {
      folder.overwrite(folder.statePath, at: page * 4096, with: [UInt8](repeating: 0xA5, count: 4096))
    }
    let damage = Damage(directory: folder.settings.directory)
    _ = try damage.note(.state, reason: "malformed", wall: 9)
    let spool = try folder.open()
    let kept = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 999)
    #expect(kept.count >= count - 10 && kept.count < count, "\(kept.count) of \(count) batches")
    #expect(kept.first?.batch.firstOffset == Offset(0))
    #expect(kept.last?.batch.lastOffset == Offset(Int64(400 * count - 1)))
    #expect(
      try spool.state.faults().contains { $0.kind == "lost-batches" && $0.messages == (count - kept.count) * 400 })
    #expect(try spool.audit().balances)
  }

  @Test("lets a dropped pipeline drain on after its state was rebuilt")
  func drainingRebuilt() throws {
    do {
      let spool = try folder.open()
      _ = try spool.register(folder, [Fixture.registration], configuration: "the old one")
      try spool.log.append(Fixture.group(0..<6))
      let second = PipelineRegistration(name: "second", uplink: "central", version: "v1")
      _ = try spool.register(folder, [second], configuration: "the new one")
      try spool.log.append(Fixture.group(6..<9))
      try spool.mirror()
      spool.close()
    }
    folder.tamper(folder.statePath, "PRAGMA application_id = 7")
    let spool = try folder.open()
    let second = PipelineRegistration(name: "second", uplink: "central", version: "v1")
    let registered = try spool.register(folder, [second], configuration: "the new one")
    #expect(registered.states["second"]?.checkpoint == Offset(6))
    let draining = try #require(registered.draining.first)
    #expect(draining.name == "climate" && draining.state.checkpoint == Offset(0) && draining.until == Offset(6))
    #expect(draining.configuration == Array("the old one".utf8))
    #expect(try spool.audit().balances)
    var done = draining.state
    try spool.state.seal(Fixture.seal(&done, readings: 0..<6), pipeline: "climate")
    try spool.state.retire("climate", unread: 0, wall: 1)
    #expect(try spool.audit().balances)
  }

  @Test(
    "opens whatever a table holds, and begins nothing twice",
    arguments: [
      "UPDATE pipeline SET unmatched = 9223372036854775000", "UPDATE pipeline SET received_at = -5",
      "UPDATE pipeline SET checkpoint = -1", "UPDATE pipeline SET digest = x'00'",
      "UPDATE outbox SET last = 9223372036854775807", "UPDATE outbox SET length = -5",
      "DROP TABLE fault", "DROP TABLE configuration", "DROP TABLE pipeline", "DROP TABLE outbox",
      "DELETE FROM instance", "UPDATE session SET filters = x'FF'",
    ])
  func absurdState(sql: String) throws {
    _ = try folder.fill()
    folder.tamper(folder.statePath, sql)
    let damage = Damage(directory: folder.settings.directory)
    // What is not seen at the opening is found in use.
    _ = try damage.note(.state, reason: "malformed", wall: 9)
    for _ in 0..<2 {
      let spool = try folder.open()
      let state = try spool.register(folder)
      #expect(state.checkpoint == Offset(4) || state.possibleDuplicateUntil == Offset(6))
      #expect(try spool.audit().balances)
      spool.close()
    }
  }

  @Test(
    "opens whatever the log's own row holds",
    arguments: [
      "UPDATE log SET next = -1", "UPDATE log SET next = 9223372036854775807", "UPDATE log SET received = -9",
      "DELETE FROM log", "DROP TABLE log", "DROP TABLE session", "DROP TABLE in_doubt", "DROP TABLE block",
    ])
  func absurdLog(sql: String) throws {
    let before = try folder.fill()
    folder.tamper(folder.logPath, sql)
    let spool = try folder.open()
    #expect(spool.log.id == before.log)
    #expect(try spool.register(folder).checkpoint == Offset(4))
    #expect(try spool.log.append(Fixture.group(6..<8)).first == Offset(6))
  }

  @Test("opens its databases anew without losing the locks that keep others from taking its write-ahead logs")
  func locksSurviveReopening() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<4))
    #expect(throws: SpoolError.self) {
      try spool.state.write { _ throws(SpoolError) in
        throw SpoolError(kind: .io, operation: "COMMIT", path: "state.db", cause: "no disk", hint: nil)
      }
    }
    try spool.state.reopen()
    spool.log.close()
    try spool.log.reopen()
    try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
    try spool.log.append(Fixture.group(4..<8))
    // What the sqlite3 command, or an audit, does in another process.
    for path in [folder.statePath, folder.logPath] {
      let program =
        "import sqlite3,sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM sqlite_master').fetchall()"
      let other = try ChildProcess.run("python3", ["-c", program, path])
      #expect(other.status == 0, "\(other.output)")
      #expect(FileSystem.size(path + "-wal") > 0, "\(path)-wal is gone")
    }
    #expect(try spool.audit().balances)
  }

  @Test("keeps the last three damaged databases of each kind")
  func pruned() throws {
    _ = try folder.fill()
    for wall in [1, 20, 300, 4_000, 50_000] as [Int64] {
      folder.tamper(folder.logPath, "PRAGMA application_id = 7")
      try folder.open(wall: wall).close()
    }
    let names = FileSystem.names(in: folder.settings.directory + "/quarantine").filter { $0.hasSuffix(".db") }
    #expect(names.sorted() == ["300-log.db", "4000-log.db", "50000-log.db"])
  }

  @Test("goes on with a rebuilding that was interrupted", arguments: Database.allCases, 0...3)
  func interruptedRebuilding(database: Database, step: Int) throws {
    let before = try folder.fill()
    let damage = Damage(directory: folder.settings.directory)
    let note = try damage.note(database, reason: "malformed", wall: 9)
    if step > 0 { try damage.setAside(database, note) }
    if step > 1 { try FileSystem.replace(damage.rebuilt(database), with: Array("half of it".utf8)) }
    if step > 2 {
      // Everything but the removal of the note.
      try folder.copy(note.place, damage.rebuilt(database))
      try damage.replace(database)
      if database == .state {
        folder.tamper(
          folder.statePath, "UPDATE instance SET file = '\(FileSystem.identity(folder.statePath) ?? "")'")
      }
    }
    let spool = try folder.open()
    #expect(spool.log.id == before.log)
    let state = try spool.register(folder)
    #expect(state.epoch == before.epoch && state.checkpoint == Offset(4))
    #expect(try spool.log.waiting(from: Offset(0)) == 6)
    #expect(damage.noted(database) == nil && !FileSystem.exists(damage.rebuilt(database)))
    #expect(try spool.audit().balances)
  }

  @Test("saves every readable block when pages in the middle of the log and its own row are lost")
  func pagesLost() throws {
    let count = 400
    do {
      let spool = try folder.open()
      _ = try spool.register(folder)
      for number in 0..<count {
        var message = Fixture.message(number)
        // Nothing to compress: a page holds one block.
        message.payload = (0..<94).flatMap { Digest(of: Array("\(number) \($0)".utf8)).bytes }
        var group = MessageGroup(boot: Fixture.boot)
        group.append(message)
        try spool.log.append(group)
      }
      try spool.mirror()
      spool.close()
    }
    folder.tamper(folder.logPath, "DELETE FROM log")
    let pages = Int(FileSystem.size(folder.logPath) / 4096)
    for page in pages / 2..<pages / 2 + 20 {
      folder.overwrite(folder.logPath, at: page * 4096, with: [UInt8](repeating: 0xA5, count: 4096))
    }
    let spool = try folder.open()
    let left = try spool.log.waiting(from: Offset(0))
    #expect(left >= Int64(count - 25) && left < Int64(count), "\(left) of \(count) blocks")
    #expect(try spool.log.end().next == Offset(Int64(count)))
    #expect(try spool.log.end().received == Int64(count))
    #expect(spool.findings.first?.contains("\(left) messages") == true)
  }

  @Test("does not believe a mirror whose numbers make no sense")
  func absurdMirror() throws {
    _ = try folder.fill()
    let path = Spool.mirrorPath(folder.settings.directory)
    let text = String(decoding: try FileSystem.read(path), as: UTF8.self)
    try FileSystem.replace(
      path, with: Array(text.replacing("\"next\":6", with: "\"next\":9223372036854775806").utf8))
    let spool = try folder.open()
    #expect(try spool.log.append(Fixture.group(6..<8)).first == Offset(6))
  }
}
