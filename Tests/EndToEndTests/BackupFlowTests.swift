import Foundation
import TestSupport
import Testing

@Suite("A gateway that is backed up and brought back", .serialized)
struct BackupFlowTests {
  private struct Manifest: Decodable {
    struct Log: Decodable {
      var id: String
      var next: Int
    }
    struct File: Decodable { var name: String }
    var log: Log
    var files: [File]
    var balances: Bool
  }

  /// Identities of the batches that the upstream holds as possible duplicates: the records of its store have the
  /// labels in clear text.
  private func marked(_ house: House) throws -> Set<String> {
    let store = [UInt8](try Data(contentsOf: URL(fileURLWithPath: house.store + "/batches.log")))
    let marker: [UInt8] = [0x0A] + Array("FBREC".utf8) + [0x0A, 0x00]
    var identities: Set<String> = []
    for place in store.indices.dropLast(24) where store[place] == 0x0A && Array(store[place..<place + 8]) == marker {
      let length = (0..<4).reduce(0) { $0 | Int(store[place + 16 + $1]) << (8 * $1) }
      guard length < 16_384, place + 24 + length <= store.count else { continue }
      let lines = String(decoding: store[place + 24..<place + 24 + length], as: UTF8.self).split(separator: "\n")
      guard lines.contains("Forebay-Possible-Duplicate: true") else { continue }
      for line in lines where line.hasPrefix("Idempotency-Key: ") {
        identities.insert(line.dropFirst("Idempotency-Key: ".count).trimmingCharacters(in: ["\""]))
      }
    }
    return identities
  }

  /// Checks that of every reading at most one is in a batch without the mark.
  private func expectRepeatsMarked(_ house: House) throws {
    let marked = try marked(house)
    let lines = try house.run("receive", ["--store", house.store, "--export", "--with-identity"]).output
    var unmarked: [House.Reading: Int] = [:]
    for line in lines.split(separator: "\n") {
      let parts = line.split(separator: "\t", maxSplits: 1)
      try #require(parts.count == 2)
      guard !marked.contains(String(parts[0])) else { continue }
      for reading in try House.readings(String(parts[1])) { unmarked[reading, default: 0] += 1 }
    }
    let twice = unmarked.filter { $0.value > 1 }
    #expect(twice.isEmpty, "\(twice.count) readings came twice without a mark, as \(twice.first.map { "\($0)" } ?? "")")
  }

  /// What a log holds from an offset on.
  private func readings(inLogOf spool: String, from offset: Int) throws -> Set<House.Reading> {
    struct Line: Decodable { var payload: String }
    struct Payload: Decodable {
      var device: String
      var seq: Int
    }
    let output = try ChildProcess.run(
      House.forebay, ["log", "show", "--json", "--spool", spool, "--from", "\(offset)"]
    ).output
    let decoder = JSONDecoder()
    return Set(
      try output.split(separator: "\n").filter { $0.hasPrefix("{") }.map { line in
        let text = try decoder.decode(Line.self, from: Data(line.utf8)).payload
        let payload = try decoder.decode(Payload.self, from: Data(text.utf8))
        return House.Reading(device: payload.device, seq: payload.seq)
      })
  }

  private func backUp(_ house: House, to path: String) throws -> Manifest {
    let result = try house.run("backup", ["--spool", house.spool, "--to", path, "--json"])
    #expect(result.status == 0, "\(result.output)")
    let verdict = try house.run("backup", ["verify", path])
    #expect(verdict.status == 0 && verdict.output.contains("is whole"), "\(verdict.output)")
    return try JSONDecoder().decode(Manifest.self, from: Data(result.output.utf8))
  }

  @Test("on another box, under its client id: nothing comes twice without a mark, and nothing is lost that the box had")
  func otherBox() throws {
    var options = House.Options()
    // One after the other, so that the old box leaves no gap that only it could fill.
    options.uplink = "concurrency: 1"
    let house = try House("backup", options)
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 5, count: 500)
    try house.settle(received: 500)
    try house.setFaults(["503"])
    try house.publish(devices: 5, count: 500, firstSeq: 101)
    try house.wait("they are sealed") { try house.status().pipelines[0].outboxReadings == 500 }

    // The backup is taken while devices publish.
    let traffic = try house.simulate([
      "--devices", "5", "--count", "3000", "--seed", "1", "--first-seq", "201", "--total-rate", "500",
    ])
    try house.wait("traffic is under way") { try house.status().spool.received > 1_100 }
    let archive = house.directory.file("gateway.tar")
    let manifest = try backUp(house, to: archive)
    #expect(manifest.balances && manifest.log.next > 1_000)
    #expect(traffic.poll() == nil, "the backup was taken under traffic")
    // Everything that a daemon leaves in its folder is either in the backup or of this process.
    let left = ["lock", "ballast", "forebay.sock", "audit-log.lock", "quarantine", "attachments"]
    for name in try FileManager.default.contentsOfDirectory(atPath: house.spool) where !left.contains(name) {
      let plain = name.replacingOccurrences(of: "-wal", with: "").replacingOccurrences(of: "-shm", with: "")
      #expect(manifest.files.contains { $0.name == plain }, "\(name) is in no backup")
    }

    // The old box goes on, delivers some of what is in the backup and some of what came after, and dies.
    try house.setFaults([])
    try house.wait("the old box has delivered some of it") { try house.delivered().count > 1_300 }
    house.killDaemon()
    #expect(traffic.wait(seconds: 60) == 0)

    let dead = house.directory.file("dead")
    try FileManager.default.moveItem(atPath: house.spool, toPath: dead)
    let restored = try house.run("restore", [archive, "--spool", house.spool, "--take-over"])
    #expect(restored.status == 0 && restored.output.contains("must never be started again"), "\(restored.output)")
    try house.expectBalance()
    let machine = try house.directory.write("0123456789abcdef0123456789abcdef\n", to: "machine-id")
    try house.startDaemon(environment: ["FOREBAY_MACHINE_ID_FILE": machine])
    try house.publish(devices: 5, count: 500, firstSeq: 801)
    // They come behind everything that the broker had kept.
    try house.wait("what was published last has arrived") {
      try house.delivered().count { $0.seq == 900 } == 5
    }
    try house.settle(received: manifest.log.next + 500)
    // What is lost is what only the old box had: received after the backup, acknowledged and not delivered.
    let onlyOld = try readings(inLogOf: dead, from: manifest.log.next)
    let arrived = Set(try house.delivered())
    let devices = Set(arrived.map(\.device))
    #expect(devices.count == 5)
    let all = Set(devices.flatMap { device in (1...900).map { House.Reading(device: device, seq: $0) } })
    let lost = all.subtracting(arrived).subtracting(onlyOld)
    let example = lost.first.map { "\($0)" } ?? "none"
    #expect(lost.isEmpty, "\(lost.count) are lost that not only the old box had, as \(example)")
    try expectRepeatsMarked(house)
    try house.expectProof()
    let audit = try house.run("audit", ["--spool", house.spool]).output
    #expect(audit.contains("in the place of what is gone"), "\(audit)")
  }

  @Test("on the same box: what was delivered after the backup is known to the upstream, and the books balance")
  func sameBox() throws {
    let house = try House("restore")
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 5, count: 500)
    try house.settle(received: 500)
    try house.setFaults(["503"])
    try house.publish(devices: 5, count: 500, firstSeq: 101)
    try house.wait("they are sealed") { try house.status().pipelines[0].outboxReadings == 500 }
    let archive = house.directory.file("gateway.tar")
    let manifest = try backUp(house, to: archive)
    try house.setFaults([])
    try house.publish(devices: 5, count: 500, firstSeq: 201)
    try house.settle(received: 1_500)
    let running = try house.run("restore", [archive, "--spool", house.spool, "--replace"])
    #expect(running.status == 2 && running.output.contains("another forebay runs"), "\(running.output)")
    house.killDaemon()
    let refused = try house.run("restore", [archive, "--spool", house.spool])
    #expect(refused.status == 2 && refused.output.contains("--replace"), "\(refused.output)")
    let restored = try house.run("restore", [archive, "--config", house.configurationPath, "--replace"])
    #expect(restored.status == 0 && restored.output.contains("new client ids are drawn"), "\(restored.output)")

    try house.startDaemon()
    #expect(try house.status().spool.received == 1_000)
    try house.publish(devices: 5, count: 500, firstSeq: 301)
    try house.settle(received: 1_500)
    try house.expectDelivered(count: 2_000)
    try expectRepeatsMarked(house)
    try house.expectProof()
    struct Log: Decodable {
      struct Spool: Decodable { var log: String }
      var spool: Spool
    }
    let status = try house.run("status", ["--json", "--socket", house.spool + "/forebay.sock"]).output
    #expect(try JSONDecoder().decode(Log.self, from: Data(status.utf8)).spool.log != manifest.log.id)
    #expect(try house.run("audit-log", ["verify", "--spool", house.spool]).status == 0)
    // A backup of what was restored is one like any other.
    _ = try backUp(house, to: archive)
    #expect(house.stopDaemon() == 0)
    _ = try backUp(house, to: archive)
  }

  @Test("is told in words what is wrong with a backup, and keeps what it has")
  func refusals() throws {
    let house = try House("refused")
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 2, count: 50)
    try house.settle(received: 50)
    #expect(house.stopDaemon() == 0)
    let archive = house.directory.file("gateway.tar")
    _ = try backUp(house, to: archive)
    var bytes = try Data(contentsOf: URL(fileURLWithPath: archive))
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: URL(fileURLWithPath: archive))
    let verdict = try house.run("backup", ["verify", archive])
    #expect(verdict.status == 1 && verdict.output.contains("is not what the manifest says"), "\(verdict.output)")
    let restored = try house.run("restore", [archive, "--spool", house.spool, "--replace"])
    #expect(restored.status == 1 && restored.output.contains("nothing was taken from it"), "\(restored.output)")
    #expect(try house.run("restore", [house.directory.file("none"), "--spool", house.spool + "2"]).status == 2)
    try house.startDaemon()
    #expect(try house.status().pipelines[0].delivered == 50)
  }
}
