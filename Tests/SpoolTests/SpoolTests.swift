import Glibc
import Telemetry
import Testing

@testable import Spool

@Suite("The spool as a whole")
struct SpoolTests {
  let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  private func filled() throws -> SpoolFolder.Filled { try folder.fill() }

  private func copy(_ from: String, _ to: String) throws { try folder.copy(from, to) }

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

  @Test("stops taking in at 85 % of its cap and goes on below 75 %, and sealing may go further")
  func gauge() {
    var gauge = SpaceGauge(maximum: 1_000, minimumFree: 100)
    gauge.update(used: 849, free: 1 << 30)
    #expect(gauge.parked == nil)
    gauge.update(used: 850, free: 1 << 30)
    #expect(gauge.parked == "the spool holds 0 MiB of 0 MiB: get the uplinks to deliver, or raise spool.max")
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
    #expect(
      gauge.parked
        == "the disk has 99 MiB free, 100 MiB are to be kept: make room on the disk, or lower spool.min_free")
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
    #expect(FileSystem.size(path) == 8 << 20)
    spool.ballast.release()
    #expect(!FileSystem.exists(path))
    spool.ballast.take()
    #expect(FileSystem.size(path) == 8 << 20)
  }

  @Test("on a short disk gives back the files' space as well, not only the pages within them")
  func givesBack() throws {
    var settings = folder.settings
    // More than any disk has free.
    settings.minimumFree = 1 << 60
    let spool = try Spool.open(
      settings, machine: Machine(id: "machine-a"), now: Fixture.moment(wall: 1), random: folder.random)
    var state = try spool.register(folder)
    for number in 0..<1_000 {
      var message = Fixture.message(number)
      // Nothing to compress.
      message.payload = (0..<94).flatMap { Digest(of: Array("\(number) \($0)".utf8)).bytes }
      var group = MessageGroup(boot: Fixture.boot)
      group.append(message)
      try spool.log.append(group)
    }
    state.checkpoint = Offset(1_000)
    try spool.state.seal(Seal(counters: .init { $0.unmatched = 1_000 }, state: state), pipeline: "climate")
    try spool.log.truncateLog()
    let before = FileSystem.size(folder.logPath)
    #expect(before > 3_000_000)
    try spool.space.update(used: try spool.usedBytes())
    for _ in 0..<20 { try spool.retain(now: Fixture.moment(wall: 2)) }
    let after = FileSystem.size(folder.logPath) + FileSystem.size(folder.logPath + "-wal")
    #expect(after < before / 2, "\(after) of \(before) bytes are still taken")
    #expect(try spool.audit().balances)
  }
}
