import Foundation
import Pipeline
import Testing

private func item(_ bytes: [UInt8]) -> Result<String, Refusal> {
  bytes.withUnsafeBytes { bytes in
    do throws(Refusal) {
      return .success(String(decoding: try CBOR.json(bytes), as: UTF8.self))
    } catch { return .failure(error) }
  }
}

private func item(_ hex: String) -> Result<String, Refusal> { item([UInt8](hex: hex)) }

@Suite("CBOR")
struct CBORTests {
  static let written: [(hex: String, json: String)] = [
    ("1bffffffffffffffff", "18446744073709551615"),
    ("3bffffffffffffffff", "-18446744073709551616"),
    ("3b7fffffffffffffff", "-9223372036854775808"),
    ("20", "-1"),
    ("c249010000000000000000", "18446744073709551616"),
    ("c349010000000000000000", "-18446744073709551617"),
    ("c24c033b2e3c9fd0803ce8000000", "1000000000000000000000000000"),
    ("c240", "0"), ("c340", "-1"), ("c2420000", "0"),
    // A bignum in parts.
    ("c25f41014100ff", "256"),
    ("f93c00", "1.0"), ("f98000", "-0.0"), ("f90001", "5.960464477539063e-08"), ("f97bff", "65504.0"),
    ("fb3ff199999999999a", "1.1"), ("fa41aa6666", "21.299999237060547"), ("fb7e37e43c8800759c", "1e+300"),
    ("f97e00", "null"), ("f97c00", "null"), ("fbfff0000000000000", "null"), ("f7", "null"), ("f8ff", "null"),
    // Times as they stand.
    ("c074323031332d30332d32315432303a30343a30305a", #""2013-03-21T20:04:00Z""#),
    ("c11a514b67b0", "1363896240"), ("c1fb41d452d9ec200000", "1363896240.5"),
    // Other tags, even about one another; a decimal fraction is an array.
    ("d9d9f7d8184401020304", #""AQIDBA""#), ("d74401020304", #""AQIDBA""#), ("c48221196ab3", "[-2,27315]"),
    // Bytes in base64url.
    ("40", #""""#), ("41fb", #""-w""#), ("42fbff", #""-_8""#), ("43fbefff", #""--__""#),
    ("5f42010243030405ff", #""AQIDBAU""#),
    ("7f657374726561646d696e67ff", #""streaming""#),
    ("6461220a5c", #""a\"\n\\""#), ("6101", #""\u0001""#), ("611f", #""\u001f""#), ("617f", "\"\u{7F}\""),
    ("a40061612061620a616362c3bcf6", #"{"0":"a","-1":"b","10":"c","ü":null}"#),
    ("a13bffffffffffffffff01", #"{"-18446744073709551616":1}"#),
    // Both of a key that stands twice.
    ("a2616101616102", #"{"a":1,"a":2}"#),
    ("9fbf61619f01ffffa0ff", #"[{"a":[1]},{}]"#),
  ]

  @Test("Each kind of item is written as the table in the documentation has it", arguments: written)
  func writing(hex: String, json: String) {
    #expect((try? item(hex).get()) == json)
  }

  static let refused: [(hex: String, rule: Refusal.Rule)] = [
    ("", .cborSyntax), ("18", .cborSyntax), ("1b00000000000000", .cborSyntax), ("0000", .cborSyntax),
    // Additional information 28...30, and indefinite lengths where there are none.
    ("1c", .cborSyntax), ("7d", .cborSyntax), ("fe", .cborSyntax), ("1f", .cborSyntax), ("3f", .cborSyntax),
    ("df00", .cborSyntax),
    ("ff", .cborSyntax), ("81ff", .cborSyntax), ("a161ff", .cborSyntax), ("bf6161ff", .cborSyntax),
    ("f800", .cborSyntax), ("f814", .cborSyntax), ("f817", .cborSyntax),
    ("c0", .cborSyntax), ("9f", .cborSyntax), ("5f", .cborSyntax), ("bf00", .cborSyntax),
    // Parts of another kind, of no definite length, or cut within a character.
    ("5f6161ff", .cborSyntax), ("7f4161ff", .cborSyntax), ("7f7f6161ffff", .cborSyntax), ("5f00ff", .cborSyntax),
    ("7f61c361bcff", .cborSyntax),
    ("62c328", .cborSyntax), ("63eda080", .cborSyntax),
    // Lengths that nothing can have.
    ("5bffffffffffffffff", .cborSyntax), ("7b7fffffffffffffff61", .cborSyntax), ("9bffffffffffffffff00", .cborSyntax),
    ("bbffffffffffffffff00", .cborSyntax), ("bb8000000000000000", .cborSyntax), ("9a0000000201", .cborSyntax),
    ("c201", .cborSyntax), ("c26161", .cborSyntax), ("c2c14101", .cborSyntax),
    ("a1410100", .cborKey), ("a1f500", .cborKey), ("a1800000", .cborKey), ("a1c2410100", .cborKey),
  ]

  @Test("What is not well-formed is refused", arguments: refused)
  func refusing(hex: String, rule: Refusal.Rule) {
    #expect(item(hex).error?.rule == rule)
  }

  @Test("A bignum of 1024 bits keeps every digit; a longer one is refused, leading zeros aside")
  func bignums() throws {
    func bignum(_ bytes: [UInt8]) -> [UInt8] { [0xC2, 0x58, UInt8(bytes.count)] + bytes }
    let ones = [UInt8](repeating: 0xFF, count: 128)
    // 2^1024 - 1 by doubling digits, as at school.
    var digits: [UInt8] = [1]
    for _ in 0..<1024 {
      var carry: UInt8 = 0
      for index in digits.indices {
        let sum = digits[index] * 2 + carry
        digits[index] = sum % 10
        carry = sum / 10
      }
      if carry > 0 { digits.append(carry) }
    }
    digits[0] -= 1
    let expected = String(decoding: digits.reversed().map { $0 + 0x30 }, as: UTF8.self)
    #expect(try item(bignum(ones)).get() == expected)
    #expect(try item(bignum([0, 0, 0] + ones)).get() == expected)
    #expect(item(bignum([1] + ones)).error?.rule == .cborNumber)
  }

  @Test("Nesting of 128 is taken, one more is refused, and a million of arrays, maps or tags does no harm")
  func depth() {
    func nested(_ depth: Int, _ open: [UInt8] = [0x81]) -> [UInt8] {
      (0..<depth).flatMap { _ in open } + [0x01]
    }
    let map: [UInt8] = [0xA1, 0x61, 0x61]
    #expect(item(nested(128)).error == nil)
    #expect(item(nested(129)).error?.rule == .cborDepth)
    #expect(item(nested(128, map)).error == nil)
    #expect(item(nested(129, map)).error?.rule == .cborDepth)
    #expect(item(nested(1_000_000)).error?.rule == .cborDepth)
    #expect(item(nested(1_000_000, [0x9F])).error?.rule == .cborDepth)
    #expect(item(nested(1_000_000, map)).error?.rule == .cborDepth)
    #expect((try? item(nested(1_000_000, [0xC1])).get()) == "1")
    // As a payload the array around the reading counts.
    #expect(CBORTranscoder().result(nested(127, map)).error == nil)
    #expect(CBORTranscoder().result(nested(128, map)).error?.rule == .cborDepth)
  }

  @Test("A map is one reading, an array of maps is as many, and all else is refused")
  func payloads() throws {
    let transcoder = CBORTranscoder()
    func json(_ hex: String) -> String? { try? transcoder.result([UInt8](hex: hex)).get() }
    #expect(json("a16174f94d40") == #"[{"t":21.0}]"#)
    #expect(json("82a1617401a1617402") == #"[{"t":1},{"t":2}]"#)
    #expect(json("9fa1617401bfffff") == #"[{"t":1},{}]"#)
    #expect(json("d9d9f781d9d9f7a1617401") == #"[{"t":1}]"#)
    #expect(json("80") == "[]")
    for hex in ["01", "6161", "8101", "82a081a0", "81f6", "c24101"] {
      #expect(transcoder.result([UInt8](hex: hex)).error?.rule == .cborNotMap, "\(hex)")
    }
    #expect(transcoder.result([UInt8](hex: "a000")).error?.rule == .cborSyntax)
    // Only the outermost array must hold maps.
    #expect(json("81a1617482018102") == #"[{"t":[1,[2]]}]"#)
  }

  @Test("Damaged and cut items are taken or refused, never a crash")
  func damage() {
    for (hex, _) in CBORTests.written {
      let bytes = [UInt8](hex: hex)
      for length in bytes.indices { #expect(item(Array(bytes.prefix(length))).error != nil, "\(hex) \(length)") }
      CBORTranscoder().takesDamage(to: [0xA1, 0x61, 0x61] + bytes)
    }
  }
}

@Suite(
  "CBOR vectors",
  .enabled(
    if: Vectors.exist("cbor/appendix_a.json"),
    "SKIPPED: the CBOR vectors are not at ../shared/vectors; set FOREBAY_VECTORS to their folder"))
struct CBORVectorTests {
  /// What the items become that no JSON value is given for, by their diagnostic notation.
  static let diagnostic: [String: String] = [
    "Infinity": "null", "-Infinity": "null", "NaN": "null", "undefined": "null",
    "simple(16)": "null", "simple(24)": "null", "simple(255)": "null",
    #"0("2013-03-21T20:04:00Z")"#: #""2013-03-21T20:04:00Z""#,
    "1(1363896240)": "1363896240", "1(1363896240.5)": "1363896240.5",
    "23(h'01020304')": #""AQIDBA""#, "24(h'6449455446')": #""ZElFVEY""#,
    #"32("http://www.example.com")"#: #""http://www.example.com""#,
    "h''": #""""#, "h'01020304'": #""AQIDBA""#, "(_ h'0102', h'030405')": #""AQIDBAU""#,
    "{1: 2, 3: 4}": #"{"1":2,"3":4}"#,
  ]

  /// Beyond what Foundation's numbers hold.
  static let exact: [String: String] = [
    "1bffffffffffffffff": "18446744073709551615", "c249010000000000000000": "18446744073709551616",
    "3bffffffffffffffff": "-18446744073709551616", "c349010000000000000000": "-18446744073709551617",
  ]

  @Test("All 82 examples of RFC 8949 become what they stand for, and cut anywhere they are refused")
  func examples() throws {
    let vectors = try #require(try Vectors.json("cbor/appendix_a.json") as? [[String: Any]])
    #expect(vectors.count == 82)
    var compared = 0
    for vector in vectors {
      let hex = try #require(vector["hex"] as? String)
      let bytes = [UInt8](hex: hex)
      let json = try item(bytes).get()
      _ = try read(Array(json.utf8)).get()
      if let diagnostic = vector["diagnostic"] as? String {
        #expect(CBORVectorTests.diagnostic[diagnostic] == json, "\(diagnostic)")
        compared += 1
      } else if let expected = CBORVectorTests.exact[hex] {
        #expect(json == expected)
        compared += 1
      } else if let expected = vector["decoded"] as? NSObject {
        let value = try JSONSerialization.jsonObject(with: Data(json.utf8), options: .fragmentsAllowed)
        #expect(value as? NSObject == expected, "\(hex): \(json)")
        compared += 1
      }
      for length in bytes.indices { #expect(item(Array(bytes.prefix(length))).error != nil, "\(hex) \(length)") }
      CBORTranscoder().takesDamage(to: bytes)
    }
    #expect(compared == 82)
  }
}
