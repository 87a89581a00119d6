import Glibc
import Telemetry
import Testing

@testable import Spool

@Suite("A restored backup")
struct RestoreTests {
  let folder: SpoolFolder
  private var archive: String { folder.path + "/backup.tar" }
  private var other: String { folder.path + "/other" }

  init() throws { folder = try SpoolFolder() }

  /// The backup of a filled spool.
  private func backup() throws -> SpoolFolder.Filled {
    let filled = try folder.fill()
    try backUp()
    return filled
  }

  private func backUp() throws {
    var source = Backup.Source(directory: folder.settings.directory, version: "1")
    source.minimumFree = 0
    _ = try Backup.write(source, to: archive, wall: 1, time: "")
  }

  @discardableResult
  private func restore(
    to directory: String? = nil, takesOver: Bool = false, replaces: Bool = false
  ) throws -> Restored {
    var order = Backup.Order(path: archive, directory: directory ?? other)
    order.takesOver = takesOver
    order.replaces = replaces
    return try Backup.restore(order, wall: 7_000_000_000) { _ in }
  }

  private func open(_ directory: String? = nil, machine: String = "machine-a") throws -> Spool {
    var settings = folder.settings
    settings.directory = directory ?? other
    return try Spool.open(
      settings, machine: Machine(id: machine), now: Fixture.moment(wall: 9), random: folder.random)
  }

  private func outbox(_ spool: Spool) throws -> [Batch] {
    try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 99).map(\.batch)
  }

  @Test("is a box of its own on the same machine: new epochs, client ids and log name; what was sealed keeps its own")
  func ownBox() throws {
    let before = try backup()
    let restored = try restore()
    #expect(restored.replaced == nil && restored.sources == ["floor"])
    var known = (epoch: before.epoch, log: before.log)
    do {
      let spool = try open()
      var state = try spool.register(folder)
      #expect(state.epoch != before.epoch && state.nextSequence == 1 && state.previousDigest == .zero)
      #expect(state.checkpoint == Offset(4) && state.possibleDuplicateUntil == Offset(6))
      #expect(try spool.state.clientID(source: "floor") { "client-2" } == "client-2")
      let sealed = try outbox(spool)
      #expect(sealed.map(\.identity.epoch) == [before.epoch] && sealed.map(\.log) == [before.log])
      #expect(sealed.map(\.possibleDuplicate) == [true], "it may have been delivered since")
      // Messages of the backup have the name that the old box knows them by, those that come now another one.
      #expect(spool.log.id != before.log && state.log == spool.log.id)
      try spool.log.append(Fixture.group(6..<8))
      let reader = try spool.reader()
      func block(_ offset: Int64) throws -> LogBlock? {
        if case .block(let block) = try reader.next(from: Offset(offset)) { block } else { nil }
      }
      #expect(try block(4)?.log == before.log)
      #expect(try block(6)?.log == spool.log.id)
      #expect(try spool.audit().balances)
      try spool.state.seal(Fixture.seal(&state, readings: 4..<8), pipeline: "climate")
      #expect(try spool.audit().balances)
      #expect(try spool.state.faults().map(\.kind).contains("moved"))
      known = (state.epoch, state.log)
      spool.close()
    }
    // And stays what it is from then on.
    let again = try open()
    #expect(try again.register(folder).epoch == known.epoch && again.log.id == known.log && again.findings.isEmpty)
    #expect(again.log.names.former == [LogNames.Former(id: before.log, upto: Offset(6))])
  }

  @Test("of an older version is brought forward where it is built; what is in it is there, and no copy is kept beside")
  func olderFormat() throws {
    _ = try backup()
    var order = Backup.Order(path: archive, directory: other)
    order.formats = LaterFormats.both
    _ = try Backup.restore(order, wall: 7_000_000_000) { _ in }
    #expect(try folder.format("\(other)/log.db") == 2 && folder.format("\(other)/state.db") == 3)
    var settings = folder.settings
    settings.directory = other
    let spool = try folder.open(LaterFormats.both, settings: settings)
    #expect(try outbox(spool).count == 1 && spool.log.lastEnd.next == Offset(6))
    #expect(try Audit.take(directory: other, formats: LaterFormats.both).balances)
    #expect(FileSystem.names(in: other).allSatisfy { !$0.contains(".format-") })
  }

  @Test("on another machine does the same, once")
  func otherMachine() throws {
    _ = try backup()
    try restore()
    var epoch: Epoch?
    do {
      let first = try open(machine: "machine-b")
      epoch = try first.register(folder).epoch
      #expect(first.findings.count == 1)
      first.close()
    }
    let second = try open(machine: "machine-b")
    #expect(try second.register(folder).epoch == epoch && second.findings.isEmpty)
  }

  @Test("that takes over keeps the client ids, and marks what the broker may hand over a second time")
  func takeOver() throws {
    let before = try backup()
    try restore(takesOver: true)
    let spool = try open(machine: "machine-b")
    let state = try spool.register(folder)
    #expect(state.epoch != before.epoch)
    #expect(try spool.state.clientID(source: "floor") { "client-2" } == before.client)
    #expect(state.possibleDuplicateUntil == Offset(6 + 65_536))
    #expect(try spool.audit().balances)
  }

  @Test("runs no dead letters again that were being run: the old box may have done it")
  func requested() throws {
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      try spool.log.append(Fixture.group(0..<6))
      var seal = Fixture.seal(&state, readings: 0..<4)
      seal.rejections = [Fixture.rejection(state, offset: 4)]
      seal.rejected = 1
      try spool.state.seal(seal, pipeline: "climate")
      spool.close()
    }
    folder.tamper(folder.statePath, "UPDATE dead_letter SET requested = 1")
    try backUp()
    try restore()
    let spool = try open()
    _ = try spool.register(folder)
    let asked = try spool.state.requestedDeadLetters(
      pipeline: "climate", request: 1, after: 0, limit: 9, bytes: 999)
    #expect(asked.isEmpty)
    #expect(try spool.audit().entries[0].ledger.deadLetters == 1)
  }

  @Test("takes no message for one that it has: what was in doubt is forgotten, whatever the client id")
  func inDoubt() throws {
    do {
      let spool = try folder.open()
      _ = try spool.register(folder)
      _ = try spool.state.clientID(source: "floor") { "client-1" }
      // A source that the log has never been asked about.
      _ = try spool.state.clientID(source: "yard") { "client-9" }
      try spool.log.append(Fixture.group(0..<6))
      #expect(try spool.log.inDoubt(source: "floor", window: 10).count == 6)
      spool.close()
    }
    try backUp()
    for takesOver in [false, true] {
      try restore(takesOver: takesOver, replaces: takesOver)
      let spool = try open()
      #expect(try spool.log.inDoubt(source: "floor", window: 10).isEmpty)
      #expect(try spool.log.inDoubt(source: "yard", window: 10).isEmpty)
      try spool.log.append(Fixture.group(6..<8))
      #expect(try spool.log.inDoubt(source: "floor", window: 10).count == 2)
      spool.close()
    }
  }

  @Test("twice from the same backup makes two boxes that share no epoch, no client id and no name of a log")
  func twice() throws {
    _ = try backup()
    try restore()
    try restore(to: folder.path + "/third")
    let one = try open()
    let two = try open(folder.path + "/third")
    let epochs = [try one.register(folder).epoch, try two.register(folder).epoch]
    #expect(epochs[0] != epochs[1])
    #expect(one.log.id != two.log.id)
  }

  @Test("is refused where there is a spool, unless that is to be replaced, which keeps it aside")
  func replaces() throws {
    let before = try backup()
    let directory = folder.settings.directory
    let error = #expect(throws: SpoolError.self) { try restore(to: directory) }
    #expect(error?.kind == .misuse)
    #expect("\(try #require(error))".contains("--replace"))
    do {
      let spool = try folder.open()
      #expect(try spool.register(folder).epoch == before.epoch, "nothing was changed")
      try spool.log.append(Fixture.group(6..<9))
      spool.close()
    }
    // A way back to another version, of the spool that goes.
    try FileSystem.replace(directory + "/log.db.format-1", with: [1])
    let replaced = try #require(try restore(to: directory, replaces: true).replaced)
    #expect(replaced == directory + "/replaced-7")
    #expect(FileSystem.exists(replaced + "/log.db.format-1") && folder.copies.isEmpty)
    #expect(FileSystem.exists(replaced + "/log.db") && FileSystem.exists(replaced + "/mirror.json"))
    let spool = try folder.open()
    #expect(try spool.register(folder).epoch != before.epoch)
    #expect(try spool.log.end().next == Offset(6), "the three messages that came after are aside")
  }

  @Test("follows no link that lies where it builds, and takes what an earlier one left away")
  func links() throws {
    _ = try backup()
    let outside = folder.path + "/outside"
    try FileSystem.makeDirectory(outside)
    try FileSystem.replace(outside + "/precious", with: [1])
    try FileSystem.makeDirectory(other)
    #expect(symlink(outside, other + "/restore.new") == 0)
    try restore()
    #expect(FileSystem.exists(outside + "/precious"))
    #expect(try open().audit().balances)
    // What came to nothing goes at the next start.
    try FileSystem.makeDirectory(other + "/restore.new")
    try FileSystem.replace(other + "/restore.new/log.db", with: [1])
    _ = try open()
    #expect(!FileSystem.exists(other + "/restore.new"))
  }

  @Test("whose state is damaged before its first start is a box of its own all the same")
  func damaged() throws {
    let before = try backup()
    try restore()
    folder.tamper(other + "/state.db", "PRAGMA application_id = 7")
    let spool = try open()
    #expect(spool.findings.contains { $0.contains("state.db") })
    #expect(spool.log.id != before.log, "what comes now is not taken for messages of the old box")
    #expect(try spool.register(folder).epoch != before.epoch)
    #expect(try spool.audit().balances)
  }

  @Test("is refused while a daemon runs on the spool, and leaves it alone")
  func running() throws {
    _ = try backup()
    let spool = try folder.open()
    let error = #expect(throws: SpoolError.self) { try restore(to: folder.settings.directory, replaces: true) }
    #expect(error?.kind == .busy)
    #expect(throws: Never.self) { try spool.log.append(Fixture.group(6..<7)) }
    #expect(!FileSystem.exists(folder.settings.directory + "/restore.new"))
  }

  @Test(
    "that a power cut stopped is finished by whoever opens the spool next, or has changed nothing",
    arguments: 0..<4)
  func powerCut(step: Int) throws {
    let before = try backup()
    let directory = folder.settings.directory
    try restore()
    // What stands in `other` is what would be put in place here.
    try #require(rename(other, directory + "/restore.new") == 0)
    for name in ["lock", "ballast"] { unlink("\(directory)/restore.new/\(name)") }
    func mark(_ word: String) throws {
      try FileSystem.replace(directory + "/restoring", with: Array("replaced-3\n\(word)\n".utf8))
    }
    func move(_ name: String, _ from: String, _ to: String) { rename("\(from)/\(name)", "\(to)/\(name)") }
    let aside = directory + "/replaced-3"
    switch step {
    case 0: break
    case 1: try mark("clear")
    case 2:
      try mark("clear")
      mkdir(aside, 0o750)
      move("state.db", directory, aside)
    default:
      try mark("install")
      mkdir(aside, 0o750)
      for name in ["state.db", "log.db", "mirror.json"] { move(name, directory, aside) }
      move("log.db", directory + "/restore.new", directory)
    }
    let spool = try folder.open()
    let epoch = try spool.register(folder).epoch
    #expect((epoch == before.epoch) == (step == 0))
    #expect(try spool.audit().balances)
    #expect(!FileSystem.exists(directory + "/restoring"))
    if step > 0 {
      #expect(!FileSystem.exists(directory + "/restore.new"))
      #expect(FileSystem.names(in: aside).sorted() == ["log.db", "mirror.json", "state.db"])
    }
  }

  @Test("that a power cut stopped is finished before another one is built in the same place")
  func powerCutTwice() throws {
    let before = try backup()
    let directory = folder.settings.directory
    try restore()
    try #require(rename(other, directory + "/restore.new") == 0)
    for name in ["lock", "ballast"] { unlink("\(directory)/restore.new/\(name)") }
    try FileSystem.replace(directory + "/restoring", with: Array("replaced-3\nclear\n".utf8))
    // The second one fails after it has taken the lock: nothing of the first is gone.
    var order = Backup.Order(path: archive, directory: directory)
    order.replaces = true
    let disk = SpoolError(kind: .full, operation: "", path: "", cause: "", hint: nil)
    let error = #expect(throws: SpoolError.self) {
      try Backup.restore(order, wall: 8_000_000_000) { _ throws(SpoolError) in throw disk }
    }
    #expect(error?.kind == .full)
    #expect(FileSystem.names(in: directory + "/replaced-3").sorted() == ["log.db", "mirror.json", "state.db"])
    let spool = try folder.open()
    #expect(try spool.register(folder).epoch != before.epoch)
    #expect(try spool.audit().balances)
    #expect(!FileSystem.exists(directory + "/restoring") && !FileSystem.exists(directory + "/restore.new"))
  }

  @Test("whose log lost its end or its state later is mended as ever: names that it had before count")
  func damagedLater() throws {
    let before = try backup()
    try restore()
    do {
      let spool = try open()
      _ = try spool.register(folder)
      try spool.mirror()
      spool.close()
    }
    folder.overwrite(Spool.statePath(other), at: 0, with: Array("this is no database at all".utf8))
    let spool = try open()
    let state = try spool.register(folder)
    // The batch of the backup was not delivered: it is made again, and not there twice.
    #expect(state.checkpoint == Offset(0) && state.possibleDuplicateUntil == Offset(6))
    #expect(try outbox(spool).isEmpty)
    #expect(try spool.audit().balances)
    if case .block(let block) = try spool.reader().next(from: Offset(0)) { #expect(block.log == before.log) }
  }
}

@Suite("A cloned card")
struct CloneTests {
  @Test("gives no message the name and offset that the other box gives to one of its own")
  func names() throws {
    let folder = try SpoolFolder()
    let before = try folder.fill()
    let spool = try folder.open(machine: "machine-b")
    let state = try spool.register(folder)
    #expect(spool.log.id != before.log && state.log == spool.log.id)
    try spool.log.append(Fixture.group(6..<7))
    #expect(spool.log.names.name(at: Offset(5)) == before.log)
    #expect(spool.log.names.name(at: Offset(6)) == spool.log.id)
    #expect(try spool.audit().balances)
  }

  @Test("whose start was cut off between its two databases begins again where it was")
  func cutOff() throws {
    let folder = try SpoolFolder()
    _ = try folder.fill()
    // The log has its new name, and the state does not know of it yet.
    folder.tamper(
      folder.logPath,
      "INSERT INTO former(id, upto) SELECT id, next FROM log; UPDATE log SET id = '00000000000000aa'")
    let spool = try folder.open(machine: "machine-b")
    let state = try spool.register(folder)
    #expect(state.checkpoint == Offset(4) && state.log == spool.log.id)
    #expect(spool.log.names.former.count == 2)
    #expect(try spool.audit().balances)
  }
}
