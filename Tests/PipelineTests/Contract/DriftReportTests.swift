import Pipeline
import Telemetry
import Testing

extension DriftReport {
  /// What a reading changes: `+field`, `-field` or `field: from to`.
  mutating func drifts(_ text: String, key: String = "d") throws -> [String] {
    let bytes = Array(text.utf8)
    let tape = try read(bytes).get()
    let drifts = bytes.withUnsafeBytes { bytes in
      Array(key.utf8).withUnsafeBytes { add(key: $0, tape: tape, in: bytes) }
    }
    return drifts.map {
      switch $0.change {
      case .appeared: "+\($0.field)"
      case .vanished: "-\($0.field)"
      case .retyped(let from, let to): "\($0.field): \(from) \(to)"
      }
    }
  }
}

@Suite("Drift")
struct DriftReportTests {
  @Test("Fields that appear, vanish, come back or change their type are reported once each")
  func changes() throws {
    var report = DriftReport(limit: 4, vanishedAfter: 3)
    #expect(try report.drifts(#"{"a":1,"o":{"x":"s"}}"#) == [])
    #expect(try report.drifts(#"{"a":2,"o":{"x":"t","y":1},"b":true}"#) == ["+/o/y", "+/b"])
    #expect(try report.drifts(#"{"o":{"x":5}}"#) == ["/o/x: string number"])
    #expect(try report.drifts(#"{"o":{"x":6}}"#) == [])
    #expect(try report.drifts(#"{"o":{"x":6}}"#) == ["-/a", "-/o/y", "-/b"])
    #expect(try report.drifts(#"{"o":{"x":6}}"#) == [])
    #expect(try report.drifts(#"{"a":"now text","o":{"x":7}}"#) == ["+/a"])
    #expect(report.fields(of: Array("d".utf8)).map(\.field) == ["/a", "/o", "/o/x"])
    #expect(try report.drifts(#"{"a":"x","o":[1]}"#) == ["/o: object array"])
  }

  @Test("Devices with ever new fields are forgotten once all of them together have too many, the oldest first")
  func total() throws {
    func object(_ device: Int) -> String {
      "{" + (0..<256).map { "\"field-\(device)-\($0)\":0" }.joined(separator: ",") + "}"
    }
    let most = DriftReport.maximumTotal / 256
    var report = DriftReport(limit: 1_000_000, vanishedAfter: 9)
    for device in 0..<most { #expect(try report.drifts(object(device), key: "d\(device)") == []) }
    #expect(report.total == DriftReport.maximumTotal && report.count == most && report.evicted == 0)
    _ = try report.drifts(object(0), key: "d0")
    _ = try report.drifts(#"{"a":1}"#, key: "new")
    #expect(report.total == DriftReport.maximumTotal - 255 && report.count == most)
    #expect(report.fields(of: Array("d1".utf8)).isEmpty && report.fields(of: Array("d0".utf8)).count == 256)
    // The same after a restart.
    let restored = try DriftReport(limit: 1_000_000, vanishedAfter: 9, restoring: report.changes())
    #expect(restored.total == report.total)
    // Devices that go because there are too many of them are counted as well.
    var small = DriftReport(limit: 2, vanishedAfter: 9)
    for device in 0..<5 { _ = try small.drifts(object(device), key: "d\(device)") }
    #expect(small.total == 512 && small.count == 2)
  }

  @Test("Null has no type of its own")
  func null() throws {
    var report = DriftReport(limit: 4, vanishedAfter: 2)
    #expect(try report.drifts(#"{"a":1,"b":null}"#) == [])
    #expect(try report.drifts(#"{"a":null,"b":"x"}"#) == [])
    #expect(try report.drifts(#"{"a":null,"b":null}"#) == [])
    #expect(try report.drifts(#"{"a":"x","b":1}"#) == ["/a: number string", "/b: string number"])
  }

  @Test("Devices are told apart, and the one seen least recently is forgotten past the limit")
  func devices() throws {
    var report = DriftReport(limit: 2, vanishedAfter: 9)
    _ = try report.drifts(#"{"a":1}"#, key: "1")
    _ = try report.drifts(#"{"b":1}"#, key: "2")
    #expect(try report.drifts(#"{"b":1}"#, key: "1") == ["+/b"])
    _ = try report.drifts(#"{"c":1}"#, key: "3")
    #expect(report.count == 2 && report.evicted == 1)
    #expect(try report.drifts(#"{"z":1}"#, key: "2") == [], "it was forgotten")
  }

  @Test("Names are escaped as in a JSON Pointer, the same however they were written, and cut off")
  func names() throws {
    var report = DriftReport(limit: 1, vanishedAfter: 9)
    #expect(try report.drifts(#"{"x":1}"#) == [])
    #expect(try report.drifts(#"{"a/b~":1}"#) == ["+/a~1b~0"])
    #expect(try report.drifts(#"{"\u0061/b~":1}"#) == [])
    let long = String(repeating: "ä", count: 500)
    let found = try report.drifts(#"{"\#(long)":1,"\#(long)b":1}"#)
    #expect(found.count == 2, "told apart although they look alike")
    #expect(found.allSatisfy { $0.utf8.count <= DriftReport.longestPath + 1 && $0.hasPrefix("+/ää") })
  }

  @Test("Readings with ever new fields and great depth stay within the bounds")
  func hostile() throws {
    var report = DriftReport(limit: 1, vanishedAfter: 1_000_000)
    for round in 0..<20 {
      _ = try report.drifts("{\((0..<100).map { "\"f\(round * 100 + $0)\":1" }.joined(separator: ","))}")
    }
    #expect(report.fields(of: Array("d".utf8)).count == DriftReport.maximumFields)
    var deep = DriftReport(limit: 1, vanishedAfter: 9)
    _ = try deep.drifts(String(repeating: #"{"a":"#, count: 100) + "1" + String(repeating: "}", count: 100))
    #expect(deep.fields(of: Array("d".utf8)).count == DriftReport.maximumDepth)
  }

  @Test("State stored after every reading and restored goes on as if nothing had happened")
  func restoring() throws {
    var straight = DriftReport(limit: 3, vanishedAfter: 3)
    var restored = straight
    var store: [[UInt8]: [UInt8]] = [:]
    var state: UInt64 = 5
    var found = 0
    for _ in 0..<400 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let bits = Int(state >> 40)
      let members = ["a", "b", "ä"].enumerated().filter { bits & 1 << $0.offset != 0 }
        .map { "\"\($0.element)\":\(["1", "\"x\"", "null", "{\"z\":1}"][bits >> (4 + 2 * $0.offset) & 3])" }
      let text = "{\(members.joined(separator: ","))}"
      let key = "d\(bits >> 12 & 3)"
      let expected = try straight.drifts(text, key: key)
      #expect(try restored.drifts(text, key: key) == expected)
      found += expected.count
      for row in restored.changes() { store[row.key] = row.value }
      restored = try DriftReport(
        limit: 3, vanishedAfter: 3, restoring: store.map { StateRow(key: $0.key, value: $0.value) })
    }
    #expect(found > 100)
  }

  @Test("Damaged state is refused or taken, never a crash")
  func damage() throws {
    var report = DriftReport(limit: 3, vanishedAfter: 3)
    _ = try report.drifts(#"{"a":1,"o":{"x":"s"}}"#)
    let rows = report.changes()
    var refused = 0
    for (number, row) in rows.enumerated() {
      let value = try #require(row.value)
      for position in value.indices {
        for bit in 0..<8 {
          var flipped = rows
          flipped[number].value?[position] ^= 1 << UInt8(bit)
          do {
            var restored = try DriftReport(limit: 3, vanishedAfter: 3, restoring: flipped)
            _ = try restored.drifts(#"{"b":1}"#)
          } catch is StateDamage { refused += 1 }
        }
        var cut = rows
        cut[number].value = Array(value.prefix(position))
        #expect(throws: StateDamage.self) { try DriftReport(limit: 3, vanishedAfter: 3, restoring: cut) }
      }
    }
    #expect(refused > 20)
  }
}
