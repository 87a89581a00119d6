import Pipeline
import Testing

/// 2011-10-31T16:27:09.25Z.
private let received: Int64 = 1_320_078_429_250_000_000

private func resolve(_ pack: String) -> String? { SenMLTranscoder().json(pack, received: received) }

@Suite("SenML")
struct SenMLTests {
  static let ow = "urn:dev:ow:10e2073a01080063"

  /// RFC 8428, section 5.1, in its order; what has no time of its own gets that of the receipt.
  static let examples: [(section: String, pack: String, resolved: String)] = [
    (
      "5.1.1", #"[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]"#,
      #"[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","t":1320078429.25,"v":23.1}]"#
    ),
    (
      "5.1.2",
      """
      [
        {"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},
        {"n":"current","u":"A","v":1.2}
      ]
      """,
      #"[{"n":"urn:dev:ow:10e2073a01080063:voltage","u":"V","t":1320078429.25,"v":120.1},"#
        + #"{"n":"urn:dev:ow:10e2073a01080063:current","u":"A","t":1320078429.25,"v":1.2}]"#
    ),
    (
      "5.1.2, with times",
      """
      [
        {"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,
         "bu":"A","bver":5,
         "n":"voltage","u":"V","v":120.1},
        {"n":"current","t":-5,"v":1.2},
        {"n":"current","t":-4,"v":1.3},
        {"n":"current","t":-3,"v":1.4},
        {"n":"current","t":-2,"v":1.5},
        {"n":"current","t":-1,"v":1.6},
        {"n":"current","v":1.7}
      ]
      """, currents
    ),
    (
      "5.1.2, a stream",
      """
      [
        {"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,
         "bu":"%RH","v":21.2},
        {"t":10,"v":21.3},
        {"t":20,"v":21.4},
        {"t":30,"v":21.4}
      ]
      """,
      "["
        + [("464", "21.2"), ("474", "21.3"), ("484", "21.4"), ("494", "21.4")]
        .map { #"{"n":"\#(ow)","u":"%RH","t":1320067\#($0),"v":\#($1)}"# }.joined(separator: ",") + "]"
    ),
    (
      "5.1.3",
      """
      [
        {"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,
         "bu":"%RH","v":20},
        {"u":"lon","v":24.30621},
        {"u":"lat","v":60.07965},
        {"t":60,"v":20.3},
        {"u":"lon","t":60,"v":24.30622},
        {"u":"lat","t":60,"v":60.07965},
        {"t":120,"v":20.7},
        {"u":"lon","t":120,"v":24.30623},
        {"u":"lat","t":120,"v":60.07966},
        {"u":"%EL","t":150,"v":98},
        {"t":180,"v":21.2},
        {"u":"lon","t":180,"v":24.30628},
        {"u":"lat","t":180,"v":60.07967}
      ]
      """, positions
    ),
    (
      "5.1.4",  // The same, resolved already.
      positions.replacing(#""t":1320067464"#, with: #""t":1.320067464e+09"#)
        .replacing(#""t":1320067524"#, with: #""t":1.320067524e+09"#)
        .replacing(#""t":1320067584"#, with: #""t":1.320067584e+09"#)
        .replacing(#""t":1320067614"#, with: #""t":1.320067614e+09"#)
        .replacing(#""t":1320067644"#, with: #""t":1.320067644e+09"#), positions
    ),
    (
      "5.1.5",
      """
      [
        {"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},
        {"n":"label","vs":"Machine Room"},
        {"n":"open","vb":false},
        {"n":"nfc-reader","vd":"aGkgCg"}
      ]
      """,
      #"[{"n":"urn:dev:ow:10e2073a01080063:temp","u":"Cel","t":1320078429.25,"v":23.1},"#
        + #"{"n":"urn:dev:ow:10e2073a01080063:label","t":1320078429.25,"vs":"Machine Room"},"#
        + #"{"n":"urn:dev:ow:10e2073a01080063:open","t":1320078429.25,"vb":false},"#
        + #"{"n":"urn:dev:ow:10e2073a01080063:nfc-reader","t":1320078429.25,"vd":"aGkgCg"}]"#
    ),
    (
      "5.1.6",
      """
      [
        {"bn":"2001:db8::2/","bt":1.320078429e+09,
         "n":"temperature","u":"Cel","v":25.2},
        {"n":"humidity","u":"%RH","v":30},
        {"bn":"2001:db8::1/","n":"temperature","u":"Cel","v":12.3},
        {"n":"humidity","u":"%RH","v":67}
      ]
      """,
      #"[{"n":"2001:db8::2/temperature","u":"Cel","t":1320078429,"v":25.2},"#
        + #"{"n":"2001:db8::2/humidity","u":"%RH","t":1320078429,"v":30},"#
        + #"{"n":"2001:db8::1/temperature","u":"Cel","t":1320078429,"v":12.3},"#
        + #"{"n":"2001:db8::1/humidity","u":"%RH","t":1320078429,"v":67}]"#
    ),
    (
      "5.1.7",
      """
      [
        {"bn":"urn:dev:ow:10e2073a01080063:"},
        {"n":"temp","u":"Cel","v":23.1},
        {"n":"heat","u":"/","v":1},
        {"n":"fan","u":"/","v":0}
      ]
      """,
      #"[{"n":"urn:dev:ow:10e2073a01080063:temp","u":"Cel","t":1320078429.25,"v":23.1},"#
        + #"{"n":"urn:dev:ow:10e2073a01080063:heat","u":"/","t":1320078429.25,"v":1},"#
        + #"{"n":"urn:dev:ow:10e2073a01080063:fan","u":"/","t":1320078429.25,"v":0}]"#
    ),
    (
      "5.1.7, lights on",
      #"[{"bt":1.320078429e+09,"bu":"/","n":"2001:db8::3","v":1},{"n":"2001:db8::4","v":1}]"#,
      #"[{"n":"2001:db8::3","u":"/","t":1320078429,"v":1},{"n":"2001:db8::4","u":"/","t":1320078429,"v":1}]"#
    ),
    (
      "5.1.7, lights off",
      """
      [
        {"bt":1.320078429e+09,"bu":"/","n":"2001:db8::3","v":0.5},
        {"n":"2001:db8::4","v":0.5},
        {"n":"2001:db8::3","t":0.1,"v":0},
        {"n":"2001:db8::4","t":0.1,"v":0}
      ]
      """,
      #"[{"n":"2001:db8::3","u":"/","t":1320078429,"v":0.5},{"n":"2001:db8::4","u":"/","t":1320078429,"v":0.5},"#
        + #"{"n":"2001:db8::3","u":"/","t":1320078429.1,"v":0},{"n":"2001:db8::4","u":"/","t":1320078429.1,"v":0}]"#
    ),
  ]

  static let currents =
    "[" + #"{"n":"urn:dev:ow:10e2073a0108006:voltage","u":"V","t":1276020076.001,"v":120.1,"bver":5},"#
    + [("71", "1.2"), ("72", "1.3"), ("73", "1.4"), ("74", "1.5"), ("75", "1.6"), ("76", "1.7")]
    .map { #"{"n":"urn:dev:ow:10e2073a0108006:current","u":"A","t":12760200\#($0).001,"v":\#($1),"bver":5}"# }
    .joined(separator: ",") + "]"

  static let positions =
    "["
    + [
      ("%RH", "464", "20"), ("lon", "464", "24.30621"), ("lat", "464", "60.07965"), ("%RH", "524", "20.3"),
      ("lon", "524", "24.30622"), ("lat", "524", "60.07965"), ("%RH", "584", "20.7"), ("lon", "584", "24.30623"),
      ("lat", "584", "60.07966"), ("%EL", "614", "98"), ("%RH", "644", "21.2"), ("lon", "644", "24.30628"),
      ("lat", "644", "60.07967"),
    ].map { #"{"n":"\#(ow)","u":"\#($0)","t":1320067\#($1),"v":\#($2)}"# }.joined(separator: ",") + "]"

  /// Section 6: the second example of 5.1.2.
  static let cbor = [UInt8](
    hex: """
      87 a7 21 78 1b 75 72 6e 3a 64 65 76 3a 6f 77 3a 31 30 65 32 30 37 33 61 30 31 30 38 30 30 36 3a
      22 fb 41 d3 03 a1 5b 00 10 62 23 61 41 20 05 00 67 76 6f 6c 74 61 67 65 01 61 56 02 fb 40 5e 06
      66 66 66 66 66 a3 00 67 63 75 72 72 65 6e 74 06 24 02 fb 3f f3 33 33 33 33 33 33 a3 00 67 63 75
      72 72 65 6e 74 06 23 02 fb 3f f4 cc cc cc cc cc cd a3 00 67 63 75 72 72 65 6e 74 06 22 02 fb 3f
      f6 66 66 66 66 66 66 a3 00 67 63 75 72 72 65 6e 74 06 21 02 f9 3e 00 a3 00 67 63 75 72 72 65 6e
      74 06 20 02 fb 3f f9 99 99 99 99 99 9a a3 00 67 63 75 72 72 65 6e 74 06 00 02 fb 3f fb 33 33 33
      33 33 33
      """)

  @Test("All examples of RFC 8428, section 5, are resolved", arguments: examples)
  func resolving(section: String, pack: String, resolved: String) {
    #expect(resolve(pack) == resolved)
  }

  @Test("The CBOR example of section 6 gives the same as its JSON twin, to the byte")
  func cbor() throws {
    #expect(try SenMLTranscoder().result(SenMLTests.cbor, received: received).get() == SenMLTests.currents)
  }

  @Test("A pack may be tagged as CBOR, and one that is a map is refused as in JSON")
  func firstByte() throws {
    #expect(
      try SenMLTranscoder().result([0xD9, 0xD9, 0xF7] + SenMLTests.cbor, received: received).get()
        == SenMLTests.currents)
    #expect(SenMLTranscoder().result([UInt8](hex: "a2006161 0201")).error?.rule == .senmlRecord)
    #expect(SenMLTranscoder().result([UInt8](hex: "efbbbf5b5d")).error?.rule == .syntax)
  }

  @Test("Every label of the CBOR table is its JSON name, decimal fractions are exact, bytes are base64url")
  func labels() throws {
    func json(_ hex: String) throws -> String {
      try SenMLTranscoder().result([UInt8](hex: hex), received: received).get()
    }
    // bver 10, bn "a", bt 1320078429, bu "A", bv 4([-1, 5]), bs 2, v 3, s 1, ut 7
    #expect(
      try json("81 a9 200a 216161 221a4eaecc5d 236141 24c4822005 2502 0203 0501 0707")
        == #"[{"n":"a","u":"A","t":1320078429,"v":3.5,"s":3,"ut":7}]"#)
    #expect(try json("81a3006161 0361780061 62") == #"[{"n":"b","t":1320078429.25,"vs":"x"}]"#)
    #expect(try json("81a2006161 04f5") == #"[{"n":"a","t":1320078429.25,"vb":true}]"#)
    #expect(try json("81a2006161 0842fbff") == #"[{"n":"a","t":1320078429.25,"vd":"-_8"}]"#)
    // 273.15 as a decimal fraction, and one with a mantissa beyond 64 bits.
    #expect(try json("81a2006161 02c48221196ab3") == #"[{"n":"a","t":1320078429.25,"v":273.15}]"#)
    #expect(
      try json("81a2006161 02c48224c249010000000000000000")
        == #"[{"n":"a","t":1320078429.25,"v":184467440737095.51616}]"#)
    // An infinity is null; a label beyond the table is its number; a name deeper down is no label.
    #expect(
      try json("81a4006161 02f97c00 0901 6178a10001")
        == #"[{"n":"a","t":1320078429.25,"v":null,"9":1,"x":{"0":1}}]"#)
    for hex in ["81a2006161 02c48121", "81a2006161 02c4826161 01", "81a200616102c48201f5"] {
      #expect(SenMLTranscoder().result([UInt8](hex: hex)).error?.rule == .cborSyntax)
    }
    #expect(SenMLTranscoder().result([UInt8](hex: "81a200616102c4821901f401")).error?.rule == .cborNumber)
    #expect(SenMLTranscoder().result([UInt8](hex: "81a200616102c4823bffffffffffffffff01")).error?.rule == .cborNumber)
  }

  static let sums: [(base: String, value: String, sum: String)] = [
    ("0.1", "0.2", "0.3"), ("1", "-1", "0"), ("-0.1", "0.3", "0.2"), ("0.1", "-0.3", "-0.2"), ("-5", "-5.5", "-10.5"),
    ("9007199254740993", "0.000000000000000001", "9007199254740993.000000000000000001"),
    ("99999999999999999999", "1", "100000000000000000000"), ("1e22", "0", "1e22"), ("12e21", "1e21", "1.3e22"),
    ("999.9", "0.1", "1000"), ("1e3", "1e-3", "1000.001"), ("0", "1E+2", "100"), ("-0", "0.0", "0"),
    ("0.0000010", "0", "0.000001"), ("0", "123e-9", "1.23e-7"), ("1000", "-999.999", "0.001"),
    ("0e999999999999", "1", "1"), ("1e399", "-1e399", "0"),
  ]

  @Test("Sums are exact to the last digit", arguments: sums)
  func sum(base: String, value: String, sum: String) {
    let name = #"[{"bn":"a","bt":1e9,"#
    #expect(
      resolve(name + #""bv":\#(base),"v":\#(value)}]"#) == #"[{"n":"a","t":1000000000,"v":\#(sum)}]"#)
    #expect(
      resolve(name + #""v":1,"bs":\#(base),"s":\#(value)}]"#) == #"[{"n":"a","t":1000000000,"v":1,"s":\#(sum)}]"#)
    #expect(
      resolve(name + #""bv":\#(value),"v":\#(base)}]"#) == #"[{"n":"a","t":1000000000,"v":\#(sum)}]"#)
  }

  @Test("Times below 2^28 count from the receipt, all others from 1970, to the last digit")
  func times() {
    func time(_ fields: String) -> String? {
      resolve(#"[{"n":"a","v":1,\#(fields)}]"#)?.split(separator: ",")[1].description
    }
    #expect(time(#""t":0"#) == #""t":1320078429.25"#)
    #expect(time(#""t":-5"#) == #""t":1320078424.25"#)
    #expect(time(#""t":0.05"#) == #""t":1320078429.3"#)
    #expect(time(#""t":268435455.999"#) == #""t":1588513885.249"#)
    #expect(time(#""t":268435456"#) == #""t":268435456"#)
    #expect(time(#""bt":268435450,"t":6"#) == #""t":268435456"#)
    #expect(time(#""bt":-10,"t":4"#) == #""t":1320078423.25"#)
    #expect(time(#""t":1320078429.123456789012"#) == #""t":1320078429.123456789012"#)
    #expect(time(#""t":-1320078430"#) == #""t":-0.75"#)
  }

  @Test("Base fields hold until they are replaced, and a record of base fields only is no reading")
  func bases() {
    #expect(
      resolve(
        #"[{"bn":"a","bu":"V","bt":1e9,"bfuture":1},{"v":1},{"u":"A","v":2},{"bn":"b","bu":"","bt":2e9},{"v":3}]"#)
        == #"[{"n":"a","u":"V","t":1000000000,"v":1},{"n":"a","u":"A","t":1000000000,"v":2},"#
        + #"{"n":"b","t":2000000000,"v":3}]"#)
    #expect(resolve("[]") == "[]")
    #expect(
      resolve(#"[{"bn":"a","bt":1e9,"bv":2},{"n":"x"},{"n":"y","vs":"z"}]"#)
        == #"[{"n":"ax","t":1000000000,"v":2},{"n":"ay","t":1000000000,"vs":"z"}]"#)
    #expect(resolve(#"[{"bn":"a","bt":1e9,"bs":2},{"n":"x"}]"#) == #"[{"n":"ax","t":1000000000,"s":2}]"#)
  }

  @Test("Unknown fields are kept as they are, a number without a base keeps its digits, escapes are kept")
  func kept() {
    #expect(
      resolve(#" [ { "n" : "a\u002Fb" , "t" : 1e9 , "v" : 1.50 , "ut" : 5 , "x y" : { "k" : [ 1 , " " ] } } ] "#)
        == #"[{"n":"a\u002Fb","t":1000000000,"v":1.50,"ut":5,"x y":{"k":[1," "]}}]"#)
    #expect(resolve(#"[{"\u006e":"a","t":1e9,"v":2}]"#) == #"[{"n":"a","t":1000000000,"v":2}]"#)
    #expect(resolve(#"[{"n":"a","bver":10,"t":1e9,"v":null}]"#) == #"[{"n":"a","t":1000000000,"v":null}]"#)
    #expect(resolve(#"[{"n":"a","bv":1,"t":1e9,"v":null}]"#) == #"[{"n":"a","t":1000000000,"v":null}]"#)
  }

  static let refused: [(pack: String, rule: Refusal.Rule)] = [
    ("", .empty), ("[", .syntax), ("{}", .senmlRecord), (#"{"n":"a","v":1}"#, .senmlRecord), ("[1]", .senmlRecord),
    (#"[{"v":1}]"#, .senmlRecord), (#"[{"n":"a"}]"#, .senmlRecord), (#"[{"n":"","v":1}]"#, .senmlRecord),
    (#"[{"n":"a","v":"1"}]"#, .senmlRecord), (#"[{"n":1,"v":1}]"#, .senmlRecord),
    (#"[{"n":"a","v":1,"vs":"x"}]"#, .senmlRecord), (#"[{"n":"a","vb":true,"vs":"x"}]"#, .senmlRecord),
    (#"[{"n":"a","vb":1}]"#, .senmlRecord), (#"[{"n":"a","v":1,"t":null}]"#, .senmlRecord),
    (#"[{"n":"a","v":1,"bver":11}]"#, .senmlVersion), (#"[{"n":"a","v":1,"bver":5},{"bver":10}]"#, .senmlVersion),
    (#"[{"n":"a","v":1},{"bver":5,"n":"b","v":1}]"#, .senmlVersion),
    (#"[{"n":"a","v":1,"bver":0}]"#, .senmlRecord), (#"[{"n":"a","v":1,"bver":1.5}]"#, .senmlRecord),
    (#"[{"n":"a","v":1,"bver":99999999999999999999}]"#, .senmlVersion),
    (#"[{"n":"a","v":1,"new_":1}]"#, .senmlField), (#"[{"n":"a","v":1,"extension_":1}]"#, .senmlField),
    (#"[{"n":"a","v":1,"ne\u0077\u005f":1}]"#, .senmlField), (#"[{"b_":1}]"#, .senmlField),
    (#"[{"n":"a","bv":1e401,"v":1}]"#, .senmlRange), (#"[{"n":"a","bv":1,"v":1e-999999999999}]"#, .senmlRange),
    (#"[{"n":"a","v":1,"t":1e99999999999999999999}]"#, .senmlRange),
  ]

  @Test("What RFC 8428 does not allow is refused", arguments: refused)
  func refusing(pack: String, rule: Refusal.Rule) {
    #expect(SenMLTranscoder().rule(pack) == rule)
  }

  @Test("A base name that every record repeats cannot fill the memory")
  func amplification() {
    let name = String(repeating: "x", count: 100_000)
    let records = Array(repeating: #"{"v":1}"#, count: 10_000).joined(separator: ",")
    #expect(SenMLTranscoder().rule(#"[{"bn":"\#(name)"},\#(records)]"#) == .outputSize)
  }

  @Test("Packs that are cut or damaged anywhere are taken or refused, never a crash")
  func damage() {
    for (_, pack, _) in SenMLTests.examples {
      SenMLTranscoder().takesCuts(of: Array(pack.utf8))
    }
    SenMLTranscoder().takesDamage(to: Array(SenMLTests.examples[8].pack.utf8))
    SenMLTranscoder().takesCuts(of: SenMLTests.cbor)
    SenMLTranscoder().takesDamage(to: SenMLTests.cbor)
  }
}
