import Foundation
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Spool

@Suite("Formats of the databases over versions")
struct FormatTests {
  let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  private var directory: String { folder.settings.directory }

  /// What a spool holds, as far as no identity is in it: those change when a file is another one.
  private struct Content: Equatable {
    var payloads: [String] = []
    var outbox: [String] = []
    var checkpoint: Offset?
    var balances = false
  }

  private func content(of spool: Spool, _ formats: SpoolFormats) throws -> Content {
    var content = Content()
    let reader = try spool.reader()
    var offset = Offset(0)
    while case .block(let block)? = try reader.next(from: offset), block.first == offset {
      for index in 0..<block.group.count {
        content.payloads.append(String(decoding: block.group[index].payload, as: UTF8.self))
      }
      offset = block.end
    }
    content.outbox = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 9).map { $0.batch.digest.hex }
    content.checkpoint = try spool.register(folder).checkpoint
    content.balances = try Audit.take(directory: spool.settings.directory, formats: formats).balances
    return content
  }

  @Test("older files are brought forward with all that is in them, and kept as they were")
  func forward() throws {
    let before = try folder.fill()
    let old = try FileSystem.read(folder.statePath)
    var reports: [String] = []
    let spool = try folder.open(LaterFormats.both, report: { reports.append($0) })
    #expect(
      spool.findings == [
        "brought log.db from format 1 to 2; as it was it lies in log.db.format-1 for 7 days",
        "brought state.db from format 1 to 3; as it was it lies in state.db.format-1 for 7 days",
      ])
    #expect(reports.contains("keeping log.db.format-1: 100 %"))
    #expect(reports.contains("bringing state.db from format 1 to 3"))
    let state = try spool.register(folder)
    // In place: nothing was copied or moved as far as identities go.
    #expect(state.epoch == before.epoch && state.nextSequence == 2 && spool.log.id == before.log)
    let now = try content(of: spool, LaterFormats.both)
    #expect(now.payloads == (0..<6).map { "{\"n\":\($0)}" })
    #expect(now.outbox.count == 1 && now.checkpoint == Offset(4) && now.balances)
    #expect(try folder.format(folder.logPath) == 2)
    #expect(try folder.format(folder.statePath) == 3)
    let label = try spool.state.read { connection throws(SpoolError) in
      try connection.text("SELECT pipeline || ' ' || text || ' ' || colour FROM label")
    }
    #expect(label == "climate of gw blue")
    #expect(folder.copies == ["log.db.format-1", "state.db.format-1"])
    #expect(try FileSystem.read(directory + "/state.db.format-1").count == old.count)
    // It goes on being used.
    try spool.log.append(Fixture.group(6..<8))
    spool.close()
  }

  @Test("what has been brought forward is opened again as it is")
  func again() throws {
    _ = try folder.fill()
    try folder.open(LaterFormats.both).close()
    let spool = try folder.open(LaterFormats.both)
    #expect(spool.findings.isEmpty)
    #expect(try content(of: spool, LaterFormats.both).payloads.count == 6)
  }

  /// The commands of docs/installation.md that put the copies back, as they are run in the spool's folder.
  private static func waysBack() throws -> String {
    let root = #filePath.components(separatedBy: "/Tests/SpoolTests/")[0]
    let page = try String(contentsOfFile: root + "/docs/installation.md", encoding: .utf8)
    let (begin, end) = ("cd /var/lib/forebay\n", "apt-get install")
    let block = try #require(page.components(separatedBy: begin).dropFirst().first)
    return block.components(separatedBy: end)[0]
  }

  @Test("going back to the kept copies, the older version has what was there, under new epochs, and books the rest")
  func back() throws {
    let before = try folder.fill()
    do {
      let spool = try folder.open(LaterFormats.both)
      try spool.log.append(Fixture.group(6..<8))
      try spool.mirror()
      spool.close()
    }
    let done = try ChildProcess.run("sh", ["-e", "-c", "cd '\(directory)'\n" + Self.waysBack()])
    #expect(done.status == 0, "\(done.output)")
    #expect(FileSystem.names(in: directory + "/newer").sorted() == ["log.db", "state.db"])
    let spool = try folder.open(.current)
    #expect(spool.findings.contains { $0.hasPrefix("log.db had lost its end: 2 messages") }, "\(spool.findings)")
    let now = try content(of: spool, .current)
    #expect(now.payloads.count == 6 && now.outbox.count == 1 && now.checkpoint == Offset(4))
    #expect(try spool.log.end().next == Offset(8), "no offset is used twice")
    var state = try spool.register(folder)
    // Under the client id that it had, for which the broker keeps messages: what it sends again may be there already.
    #expect(state.epoch != before.epoch && state.possibleDuplicateUntil == Offset(8 + 65_536))
    #expect(try spool.state.clientID(source: "floor") { "another" } == before.client)
    // The pipeline reads what is left, and then meets the gap.
    guard case .unreadable(Offset(6), Offset(8), _)? = try spool.reader().next(from: Offset(6)) else {
      Issue.record("there is no gap")
      return
    }
    var seal = Fixture.seal(&state, readings: 4..<6)
    seal.counters.damaged = 2
    seal.state.checkpoint = Offset(8)
    try spool.state.seal(seal, pipeline: "climate")
    #expect(try spool.audit().balances)
  }

  @Test("state.db alone is copied when it alone changes, and the log stays as it is")
  func stateAlone() throws {
    _ = try folder.fill()
    let spool = try folder.open(LaterFormats.stateOnly)
    #expect(folder.copies == ["state.db.format-1"])
    #expect(try content(of: spool, LaterFormats.stateOnly).balances)
    #expect(try folder.format(folder.logPath) == 1)
  }

  @Test("whenever the power goes, each file is whole, old or new, and the next start finishes")
  func powerCut() throws {
    _ = try folder.fill()
    let whole = try { () throws -> Content in
      let spool = try folder.open()
      defer { spool.close() }
      return try content(of: spool, .current)
    }()
    // What kill -9 would leave: the files as the kernel has them at this moment.
    let taken = Mutex<[String]>([])
    let (source, target) = (directory, folder.path)
    @Sendable func snapshot(_ label: String) {
      let number = taken.withLock { $0.count }
      let place = "\(target)/cut-\(number)"
      try? FileManager.default.copyItem(atPath: source, toPath: place)
      taken.withLock { $0.append(label) }
    }
    let formats = SpoolFormats(
      log: LaterFormats.log { connection throws(SpoolError) in
        // More than its cache holds, so that pages of the transaction are in the write-ahead log already.
        try connection.execute(
          """
          CREATE TABLE filling(bytes BLOB) STRICT;
          WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
            INSERT INTO filling SELECT randomblob(4000) FROM n;
          """)
        snapshot("within the transaction")
        try connection.execute("DROP TABLE filling")
      }, state: LaterFormats.state)
    snapshot("before")
    try folder.open(formats, report: { snapshot($0) }).close()
    snapshot("after")

    let labels = taken.withLock { $0 }
    #expect(labels.count >= 8, "\(labels)")
    var found: Set<[Int64?]> = []
    for (number, label) in labels.enumerated() {
      let cut = "\(folder.path)/cut-\(number)"
      var settings = SpoolSettings(directory: cut)
      settings.minimumFree = 0
      if label == "within the transaction" {
        #expect(FileSystem.size(cut + "/log.db-wal") > 1 << 20, "much of it is on the disk already")
      }
      let state = [try folder.format(cut + "/log.db"), try folder.format(cut + "/state.db")]
      found.insert(state)
      // The version before, on a copy: it has everything, or refuses.
      try FileManager.default.copyItem(atPath: cut, toPath: cut + "-old")
      var older = settings
      older.directory = cut + "-old"
      if state == [1, 1] {
        let spool = try folder.open(.current, settings: older)
        #expect(try content(of: spool, .current) == whole, "\(label)")
      } else {
        let error = #expect(throws: SpoolError.self) { try folder.open(.current, settings: older) }
        #expect(error?.kind == .newer, "\(label)")
      }
      let spool = try folder.open(LaterFormats.both, settings: settings)
      #expect(try content(of: spool, LaterFormats.both) == whole, "\(label)")
      #expect(try folder.format(cut + "/log.db") == 2)
      #expect(try folder.format(cut + "/state.db") == 3)
      #expect(!FileSystem.names(in: cut).contains { $0.hasSuffix(".new") }, "\(label)")
    }
    #expect(found == [[1, 1], [2, 1], [2, 3]])
  }

  @Test("without the room it is refused in words: nothing has changed, and the ballast is there")
  func noRoom() throws {
    _ = try folder.fill()
    let files = try [folder.logPath, folder.statePath].map { try FileSystem.read($0) }
    let names = folder.names
    #expect(names.contains("ballast"))
    let error = #expect(throws: SpoolError.self) {
      try folder.open(LaterFormats.both, free: { _ in RebuildRoom.reserve })
    }
    #expect(error?.kind == .full)
    let text = "\(try #require(error))"
    #expect(text.contains("it takes 9 MiB, and the disk has 8 MiB free"), "\(text)")
    #expect(text.contains("make room on the disk") && text.contains("nothing was changed"))
    #expect(try [folder.logPath, folder.statePath].map { try FileSystem.read($0) } == files)
    #expect(folder.names == names)
    // What is of format 1 can still be opened by the version before.
    try folder.open(.current).close()
    try folder.open(LaterFormats.both, free: { _ in RebuildRoom.reserve + (4 << 20) }).close()
    #expect(try folder.format(folder.logPath) == 2)
  }

  @Test("a step that fails leaves both files as they were, without copies, and says whose fault it is")
  func failingStep() throws {
    _ = try folder.fill()
    let broken = SpoolFormats(
      log: LaterFormats.log { connection throws(SpoolError) in try connection.execute("SELECT nothing FROM block") },
      state: LaterFormats.state)
    let error = #expect(throws: SpoolError.self) { try folder.open(broken) }
    #expect(error?.kind == .older)
    #expect("\(try #require(error))".contains("a defect of forebay: install the version before again"))
    #expect(folder.copies.isEmpty)
    #expect(try folder.format(folder.logPath) == 1)
    #expect(try content(of: try folder.open(.current), .current).balances)
  }

  @Test("a newer format is refused with file, format, what this version reads and the ways out; nothing is touched")
  func newer() throws {
    _ = try folder.fill()
    folder.tamper(folder.statePath, "PRAGMA user_version = 99")
    let files = try [folder.logPath, folder.statePath].map { try FileSystem.read($0) }
    let names = folder.names
    for (formats, reads) in [(SpoolFormats.current, "format 1 only"), (LaterFormats.both, "formats 1 to 3")] {
      let error = #expect(throws: SpoolError.self) { try folder.open(formats) }
      #expect(error?.kind == .newer)
      let text = "\(try #require(error))"
      #expect(text.contains("\(folder.statePath): it is of format 99"), "\(text)")
      #expect(text.contains("this version reads \(reads)"), "\(text)")
      #expect(text.contains("install the version that wrote it") && text.contains("put the folder aside"), "\(text)")
    }
    #expect(try [folder.logPath, folder.statePath].map { try FileSystem.read($0) } == files)
    #expect(folder.names == names)
  }

  @Test("where copies from before the upgrade are kept, the refusal names them")
  func newerWithCopies() throws {
    _ = try folder.fill()
    try folder.open(LaterFormats.both).close()
    let error = #expect(throws: SpoolError.self) { try folder.open(.current) }
    #expect("\(try #require(error))".contains("log.db.format-1, state.db.format-1 in the same folder"))
  }

  @Test("a command does not bring a file forward: that is the daemon's, which has the spool to itself")
  func commands() throws {
    _ = try folder.fill()
    let (log, state) = (folder.logPath, folder.statePath)
    let errors: [SpoolError?] = [
      #expect(throws: SpoolError.self) { try StateStore(path: state, format: LaterFormats.state) },
      #expect(throws: SpoolError.self) { try LogReader(path: log, format: LaterFormats.both.log) },
      #expect(throws: SpoolError.self) { try Audit.take(directory: directory, formats: LaterFormats.both) },
    ]
    for error in errors {
      #expect(error?.kind == .older)
      #expect("\(try #require(error))".contains("the daemon of this version brings it forward when it starts"))
    }
    #expect(try folder.format(log) == 1)
    #expect(try folder.format(state) == 1)
  }

  @Test("a database that is damaged on the way is rebuilt in the newest format from what can be read")
  func damaged() throws {
    do {
      let spool = try folder.open()
      _ = try spool.register(folder)
      for start in stride(from: 0, to: 400, by: 2) { try spool.log.append(Fixture.group(start..<start + 2)) }
      spool.close()
    }
    // A leaf of the largest table; the file's header and its lists are elsewhere.
    folder.overwrite(folder.logPath, at: 4_096 * 12, with: Array(repeating: 0xFF, count: 4_096))
    let spool = try folder.open(LaterFormats.both)
    #expect(spool.findings.contains { $0.hasPrefix("log.db was damaged and lies in ") }, "\(spool.findings)")
    #expect(try folder.format(folder.logPath) == 2)
    #expect(try folder.format(folder.statePath) == 3)
    let end = try spool.log.end()
    #expect(end.next == Offset(400) && end.received == 400)
    let kept = try spool.reader().waiting(from: Offset(0))
    #expect(kept > 300 && kept < 400, "\(kept)")
  }

  @Test("a database that was noted as damaged and is whole comes back in the newest format")
  func noted() throws {
    _ = try folder.fill()
    for database in Database.allCases {
      _ = try Damage(directory: directory).note(database, reason: "a test", wall: 5)
    }
    let spool = try folder.open(LaterFormats.both)
    #expect(spool.findings.count { $0.contains("all of it can be read") } == 2, "\(spool.findings)")
    #expect(try content(of: spool, LaterFormats.both).payloads.count == 6)
    #expect(try folder.format(folder.logPath) == 2)
    #expect(try folder.format(folder.statePath) == 3)
  }

  // MARK: How long copies are kept

  private static let day: Int64 = 24 * 3_600_000_000_000
  private static let today: Int64 = 1_795_231_080_000_000_000

  @Test("copies are kept for a week, whether the daemon is stopped or not")
  func week() throws {
    _ = try folder.fill()
    try folder.open(LaterFormats.both, now: Fixture.moment(wall: Self.today)).close()
    let spool = try folder.open(LaterFormats.both, now: Fixture.moment(wall: Self.today + Self.day))
    try spool.retain(now: Fixture.moment(wall: Self.today + 6 * Self.day))
    #expect(folder.copies.count == 2)
    try spool.retain(now: Fixture.moment(wall: Self.today + 8 * Self.day))
    #expect(folder.copies.isEmpty)
  }

  @Test("a copy that was made without a clock is dated by the first that is worth it")
  func undated() throws {
    _ = try folder.fill()
    var moment = Fixture.moment(wall: Self.today)
    moment.quality = .unsynchronised
    let spool = try folder.open(LaterFormats.both, now: moment)
    moment.wall += 30 * Self.day
    try spool.retain(now: moment)
    #expect(folder.copies.count == 2)
    try spool.retain(now: Fixture.moment(wall: Self.today))
    try spool.retain(now: Fixture.moment(wall: Self.today + 6 * Self.day))
    #expect(folder.copies.count == 2)
    try spool.retain(now: Fixture.moment(wall: Self.today + 8 * Self.day))
    #expect(folder.copies.isEmpty)
  }

  @Test("a copy goes when the disk has less free than is to stay free, and that is booked")
  func short() throws {
    _ = try folder.fill()
    var settings = folder.settings
    settings.minimumFree = 1 << 60
    let spool = try folder.open(LaterFormats.both, settings: settings)
    #expect(folder.copies.count == 2)
    try spool.space.update(used: 0)
    try spool.retain(now: Fixture.moment(wall: Self.today))
    #expect(folder.copies.isEmpty)
    let booked = try spool.state.faults().filter { $0.kind == "format-copy" }.map(\.detail).sorted()
    #expect(
      booked == [
        "log.db.format-1 was deleted for want of room on the disk",
        "state.db.format-1 was deleted for want of room on the disk",
      ])
  }

  @Test("the next upgrade leaves its own copy in place of the one before, also after an older version has run again")
  func another() throws {
    _ = try folder.fill()
    try folder.open(LaterFormats.stateOnly).close()
    #expect(rename(folder.statePath + ".format-1", folder.statePath) == 0)
    try folder.copy(folder.statePath, folder.statePath + ".format-1")
    do {
      let spool = try folder.open(.current)
      var state = try spool.register(folder)
      try spool.state.seal(Fixture.seal(&state, readings: 4..<6), pipeline: "climate")
      spool.close()
    }
    try folder.open(LaterFormats.stateOnly).close()
    #expect(folder.copies == ["state.db.format-1"])
    #expect(rename(folder.statePath + ".format-1", folder.statePath) == 0)
    do {
      let spool = try folder.open(.current)
      #expect(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 9).count == 2)
      spool.close()
    }
    try folder.open(LaterFormats.both).close()
    #expect(folder.copies == ["log.db.format-1", "state.db.format-1"])
  }
}
