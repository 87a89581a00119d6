import Foundation
import TestSupport
import Testing

@testable import Status

@Suite("The audit log")
struct AuditLogTests {
  static func entry(_ action: String = "uplink.pause", result: String = "begun") -> AuditEntry {
    AuditEntry(
      who: "anna", role: "operator", via: "api", action: action, parameters: ["uplink": "central"], result: result,
      time: "2026-11-21T16:00:00Z")
  }

  func file(_ directory: TemporaryDirectory) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: directory.file("audit-log.jsonl")))
  }

  func write(_ data: Data, _ directory: TemporaryDirectory) throws {
    try data.write(to: URL(fileURLWithPath: directory.file("audit-log.jsonl")))
  }

  @Test("entries are tied to each other, over openings and from several processes' hands")
  func chain() throws {
    let directory = try TemporaryDirectory("audit")
    for number in 1...5 { #expect(try AuditLog(directory: directory.path).append(Self.entry()) == Int64(number)) }
    let found = try AuditLog(directory: directory.path).verify()
    #expect(found.isSound && found.entries == 5 && found.first == 1 && found.torn == 0)
    let newest = try AuditLog(directory: directory.path).entries(limit: 2)
    #expect(newest.map(\.number) == [5, 4])
    #expect(try AuditLog(directory: directory.path).entries(before: 3, limit: 9).map(\.number) == [2, 1])
  }

  @Test("a line with a number that no entry can have is no entry, and the log goes on", arguments: [.max, 0, -1])
  func impossibleNumber(number: Int64) throws {
    let directory = try TemporaryDirectory("audit")
    let log = AuditLog(directory: directory.path)
    try log.append(Self.entry())
    var entry = Self.entry()
    entry.number = number
    try write(file(directory) + Data(try entry.line()) + Data("\n".utf8), directory)
    #expect(try log.append(Self.entry()) == 2)
    let found = try log.verify()
    // The next entry says what stood there, as it does of a line that a power cut tore.
    #expect(found.isSound && found.entries == 2 && found.torn == 1, "\(found)")
  }

  @Test("a change anywhere, a line that was taken out and one that was put in are found")
  func tampering() throws {
    let directory = try TemporaryDirectory("audit")
    let log = AuditLog(directory: directory.path)
    for _ in 1...4 { try log.append(Self.entry()) }
    let whole = try file(directory)
    let lines = String(decoding: whole, as: UTF8.self).split(separator: "\n").map(String.init)
    for (what, changed) in [
      ("another name", [lines[0], lines[1].replacing("anna", with: "otto"), lines[2], lines[3]]),
      ("one less", [lines[0], lines[2], lines[3]]), ("one twice", [lines[0], lines[1], lines[1], lines[2], lines[3]]),
      ("swapped", [lines[1], lines[0], lines[2], lines[3]]), ("nonsense", [lines[0], "nonsense", lines[1], lines[2]]),
      ("the first, changed", [lines[0].replacing("anna", with: "otto")] + lines.dropFirst()),
    ] {
      try write(Data((changed.joined(separator: "\n") + "\n").utf8), directory)
      #expect(try log.verify().isSound == false, "\(what)")
    }
    try write(whole, directory)
    #expect(try log.verify().isSound)
  }

  @Test("wherever a power cut tears the last line off, the log goes on and stays sound")
  func torn() throws {
    let directory = try TemporaryDirectory("audit")
    let log = AuditLog(directory: directory.path)
    for _ in 1...2 { try log.append(Self.entry()) }
    let whole = try file(directory)
    let first = try #require(whole.firstIndex(of: UInt8(ascii: "\n"))) + 1
    for length in stride(from: first, through: whole.count, by: 7) {
      try write(whole.prefix(length), directory)
      #expect(try log.verify().isSound, "cut at \(length)")
      try log.append(Self.entry())
      // Another cut, within the entry that tells of the first one.
      let once = try file(directory)
      try write(once.dropLast(5), directory)
      try log.append(Self.entry())
      try log.append(Self.entry())
      let found = try log.verify()
      #expect(found.isSound, "cut at \(length): \(found.faults)")
      #expect(try log.entries(limit: 1)[0].number == found.entries)
    }
  }

  @Test("a power cut within the first entry of a new file is told apart from a change, and the log goes on")
  func tornFirst() throws {
    let directory = try TemporaryDirectory("audit")
    let log = AuditLog(directory: directory.path, segmentBytes: 2000)
    let older = directory.file("audit-log.1.jsonl")
    repeat { try log.append(Self.entry()) } while !FileManager.default.fileExists(atPath: older)
    let whole = try file(directory)
    let before = try log.verify().entries - 1
    #expect(whole.filter { $0 == UInt8(ascii: "\n") }.count == 1)
    for length in stride(from: 1, to: whole.count - 1, by: 7) {
      for filling in [0, 16] {
        try write(whole.prefix(length) + Data(count: filling), directory)
        let torn = try log.verify()
        #expect(torn.isSound && torn.torn == 1 && torn.entries == before, "cut at \(length): \(torn.faults)")
        #expect(try log.append(Self.entry()) == before + 1)
        // Another cut, within the entry that tells of the first one.
        try write(try file(directory).dropLast(5), directory)
        #expect(try log.verify().isSound, "cut twice at \(length)")
        try log.append(Self.entry())
        try log.append(Self.entry())
        let found = try log.verify()
        #expect(found.isSound && found.entries == before + 2, "cut at \(length): \(found.faults)")
      }
    }
    // Nobody who tears a line out gets away with it.
    try write(Data("nonsense\n".utf8) + whole, directory)
    #expect(try log.verify().isSound == false)
  }

  @Test("what stands at the very end is torn only if a power cut can have left it so")
  func tail() throws {
    let directory = try TemporaryDirectory("audit")
    let log = AuditLog(directory: directory.path)
    for _ in 1...2 { try log.append(Self.entry()) }
    let whole = try file(directory)
    for (text, isSound) in [
      ("{\"action\":\"uplink.pa", true), ("{\"action\":\"uplink.pause\",\"number\":3,\"parameters\":{}", true),
      ("{\"action\":\"upl\n", true), ("{\"broken\":true}\n", false), ("{\"broken\":true}\n{\"action\":", false),
    ] {
      try write(whole + Data(text.utf8), directory)
      let found = try log.verify()
      #expect(found.isSound == isSound && found.torn == (isSound ? 1 : 0), "\(text): \(found)")
    }
  }

  @Test("the newest entries are read again when the file has changed")
  func newest() async throws {
    let directory = try TemporaryDirectory("audit")
    let (log, trail) = (AuditLog(directory: directory.path), AuditTrail(AuditLog(directory: directory.path)))
    #expect(try await trail.entries(limit: 3).isEmpty)
    for number in 1...4 {
      try log.append(Self.entry())
      for _ in 1...2 { #expect(try await trail.entries(limit: 3).first?.number == Int64(number)) }
    }
    #expect(try await trail.entries(limit: 3).map(\.number) == [4, 3, 2])
    #expect(try await trail.entries(limit: 2).map(\.number) == [4, 3])
  }

  @Test("the older file is kept, and the chain goes through both")
  func segments() throws {
    let directory = try TemporaryDirectory("audit")
    let log = AuditLog(directory: directory.path, segmentBytes: 2000)
    for _ in 1...30 { try log.append(Self.entry()) }
    let found = try log.verify()
    #expect(found.isSound && found.first > 1 && found.first + found.entries == 31)
    #expect(try log.entries(limit: 8).map(\.number) == Array((23...30).reversed()))
  }

  @Test("what cannot be written down is not done; what fails is written down as failed")
  func recording() async throws {
    let directory = try TemporaryDirectory("audit")
    struct Refused: Error {}
    func record(_ path: String, _ body: () async throws -> Int) async throws -> Int {
      try await AuditTrail(AuditLog(directory: path)).record(
        who: "anna", role: "operator", via: "api", action: "reload", parameters: [:], time: { "now" },
        result: { "done: \($0)" }, body)
    }
    #expect(try await record(directory.path) { 7 } == 7)
    await #expect(throws: Refused.self) { try await record(directory.path) { throw Refused() } }
    var isDone = false
    await #expect(throws: AuditLog.Fault.self) {
      try await record(directory.path + "/nowhere") {
        isDone = true
        return 1
      }
    }
    #expect(!isDone)
    let entries = try AuditLog(directory: directory.path).entries(limit: 9)
    #expect(entries.map(\.result) == ["failed: Refused()", "begun", "done: 7", "begun"])
    #expect(entries.map(\.begun) == [3, nil, 1, nil])
  }

  @Test("what is done is told as done, though the log cannot take its end")
  func doneAllTheSame() async throws {
    let directory = try TemporaryDirectory("audit")
    let log = AuditLog(directory: directory.path)
    let outcome = try await AuditTrail(log).record(
      who: "anna", role: "operator", via: "api", action: "reload", parameters: [:], time: { "now" },
      result: { (number: Int) in "done: \(number)" }
    ) {
      for name in try FileManager.default.contentsOfDirectory(atPath: directory.path) {
        try FileManager.default.removeItem(atPath: directory.file(name))
        try FileManager.default.createDirectory(atPath: directory.file(name), withIntermediateDirectories: true)
      }
      return 7
    }
    #expect(outcome == 7)
    #expect(throws: AuditLog.Fault.self) { try log.entries(limit: 9) }
  }

  @Test("long texts are cut, so that a line stays below its bound")
  func bounded() throws {
    let long = String(repeating: "\u{1}", count: 10_000)
    let entry = AuditEntry(
      who: long, role: "operator", via: "api", action: "replay.create",
      parameters: Dictionary(uniqueKeysWithValues: (0..<20).map { ("parameter-\($0)", long) }), result: long, time: "")
    #expect(try entry.line().count <= AuditEntry.maximumBytes)
  }
}
