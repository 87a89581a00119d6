import Foundation
import Pipeline
import Testing

private func transcoder(_ precision: LineProtocolTranscoder.Precision = .nanoseconds) -> LineProtocolTranscoder {
  var settings = LineProtocolTranscoder.Settings()
  settings.precision = precision
  return LineProtocolTranscoder(settings: settings)
}

@Suite("Line protocol")
struct LineProtocolTests {
  static let written: [(text: String, json: String)] = [
    ("", "[]"), ("\n \r\n# a comment\n", "[]"),
    ("m f=1", #"[{"measurement":"m","tags":{},"fields":{"f":1}}]"#),
    (
      "weather,location=us-midwest,season=summer temperature=82.5,humidity=71i,open=t 1465839830100400200\n",
      #"[{"measurement":"weather","tags":{"location":"us-midwest","season":"summer"},"#
        + #""fields":{"temperature":82.5,"humidity":71,"open":true},"time":1465839830100400200}]"#
    ),
    (
      "a f=1 1\r\nb f=2 -2\n\n#\n  c f=3   3  \n",
      #"[{"measurement":"a","tags":{},"fields":{"f":1},"time":1},{"measurement":"b","tags":{},"#
        + #""fields":{"f":2},"time":-2},{"measurement":"c","tags":{},"fields":{"f":3},"time":3}]"#
    ),
    (
      #"m\ e\,a\=s,t\ \,\=k=v\ \,\=\w f\ \,\=="q\"\\\x",g="a=b, c""#,
      #"[{"measurement":"m e,a\\=s","tags":{"t ,=k":"v ,=\\w"},"fields":{"f ,=":"q\"\\\\x","g":"a=b, c"}}]"#
    ),
    (
      "m f=9223372036854775807i,g=-9223372036854775808i,h=18446744073709551615u,i=-0i,j=007i",
      #"[{"measurement":"m","tags":{},"fields":{"f":9223372036854775807,"g":-9223372036854775808,"#
        + #""h":18446744073709551615,"i":0,"j":7}}]"#
    ),
    (
      "m a=.5,b=5.,c=-.5e3,d=00.50,e=1E+2,f=-0,g=123456789012345678901234567890.1,h=1e-400",
      #"[{"measurement":"m","tags":{},"fields":{"a":0.5,"b":5,"c":-0.5e3,"d":0.50,"e":1E+2,"f":-0,"#
        + #""g":123456789012345678901234567890.1,"h":1e-400}}]"#
    ),
    (
      "m a=T,b=true,c=True,d=TRUE,e=f,f=F,g=false,h=False,i=FALSE",
      #"[{"measurement":"m","tags":{},"fields":{"a":true,"b":true,"c":true,"d":true,"#
        + #""e":false,"f":false,"g":false,"h":false,"i":false}}]"#
    ),
    ("m f=1,f=2", #"[{"measurement":"m","tags":{},"fields":{"f":1,"f":2}}]"#),
    ("m f=\"two\nlines\" 5", #"[{"measurement":"m","tags":{},"fields":{"f":"two\nlines"},"time":5}]"#),
    ("\u{FEFF}m f=1", #"[{"measurement":"m","tags":{},"fields":{"f":1}}]"#),
  ]

  @Test("Lines become objects that keep every digit", arguments: written)
  func writing(text: String, json: String) {
    #expect(transcoder().json(text) == json)
  }

  static let refused: [(text: String, rule: Refusal.Rule)] = [
    ("m", .lineProtocolSyntax), ("m ", .lineProtocolSyntax), (",t=v f=1", .lineProtocolSyntax),
    ("m,t=v", .lineProtocolSyntax), ("m, f=1", .lineProtocolSyntax), ("m,t= f=1", .lineProtocolSyntax),
    ("m,t f=1", .lineProtocolSyntax), ("m,=v f=1", .lineProtocolSyntax), ("m,t=a=b f=1", .lineProtocolSyntax),
    ("m f", .lineProtocolSyntax), ("m f=", .lineProtocolSyntax), ("m =1", .lineProtocolSyntax),
    ("m f=1,", .lineProtocolSyntax), ("m f=1, g=2", .lineProtocolSyntax), ("m f=\"a", .lineProtocolSyntax),
    ("m f=\"a\"b", .lineProtocolSyntax), ("m f=+1", .lineProtocolSyntax), ("m f=NaN", .lineProtocolSyntax),
    ("m\tf=1", .lineProtocolSyntax), ("#\u{1}\n", .lineProtocolSyntax), ("m f=1\rn f=2", .lineProtocolSyntax),
    ("m f=1 x", .lineProtocolSyntax), ("m f=1 1 2", .lineProtocolSyntax), ("m f=1 1x", .lineProtocolSyntax),
    ("m f=1i2", .lineProtocolValue), ("m f=1.5i", .lineProtocolValue), ("m f=9223372036854775808i", .lineProtocolValue),
    ("m f=-1u", .lineProtocolValue), ("m f=-0u", .lineProtocolValue), ("m f=u", .lineProtocolSyntax),
    ("m f=18446744073709551616u", .lineProtocolValue),
    ("m f=1e", .lineProtocolValue), ("m f=.", .lineProtocolValue), ("m f=-", .lineProtocolValue),
    ("m f=--1", .lineProtocolValue), ("m f=1e309", .lineProtocolValue), ("m f=0x10", .lineProtocolValue),
    ("m f=1_000", .lineProtocolValue), ("m f=tru", .lineProtocolValue), ("m f=trueish", .lineProtocolValue),
    ("m f=i", .lineProtocolSyntax), ("m f=-i", .lineProtocolValue),
    ("m,t=a,t=b f=1", .lineProtocolTag),
    ("m f=1 9223372036854775808", .lineProtocolTime), ("m f=1 --1", .lineProtocolTime), ("m f=1 -", .lineProtocolTime),
  ]

  @Test("What is no line is refused", arguments: refused)
  func refusing(text: String, rule: Refusal.Rule) {
    #expect(transcoder().rule(text) == rule)
  }

  @Test("One bad line refuses the payload, and the refusal says where it is but not what it says")
  func place() {
    let error = transcoder().result(Array("a f=1\nb f=\"x\ny\"\nsecret f=oops\n".utf8)).error
    #expect(error?.reason == "line 4, byte 10: a value is neither a number, a string nor a boolean")
    #expect(
      transcoder().result(Array("a f=1 99999999999999999999\n".utf8)).error?.reason
        == "line 1, byte 7: a timestamp is no integer, or more nanoseconds than 64 bits count")
  }

  @Test("Timestamps are counted in the configured unit and handed on in nanoseconds")
  func precision() {
    func time(_ precision: LineProtocolTranscoder.Precision, _ time: String) -> String? {
      transcoder(precision).json("m f=1 \(time)")?.split(separator: #""time":"#).last.map { String($0.dropLast(2)) }
    }
    #expect(time(.nanoseconds, "1465839830100400200") == "1465839830100400200")
    #expect(time(.microseconds, "1465839830100400") == "1465839830100400000")
    #expect(time(.milliseconds, "1465839830100") == "1465839830100000000")
    #expect(time(.seconds, "1465839830") == "1465839830000000000")
    #expect(time(.seconds, "-1") == "-1000000000")
    #expect(transcoder(.seconds).rule("m f=1 9223372037") == .lineProtocolTime)
    #expect(transcoder(.seconds).rule("m f=1 -9223372037") == .lineProtocolTime)
  }

  @Test("Lines that are cut or damaged anywhere are taken or refused, never a crash")
  func damage() {
    for (text, _) in LineProtocolTests.written {
      transcoder().takesCuts(of: Array(text.utf8))
      transcoder().takesDamage(to: Array(text.utf8))
    }
    #expect(transcoder().rule("m f=" + String(repeating: "1", count: 1_000_000)) == .lineProtocolValue)
    let tags = (0..<20_000).map { ",t\($0)=v" }.joined()
    #expect(transcoder().json("m\(tags) f=1") != nil)
  }
}

@Suite(
  "Line protocol corpus",
  .enabled(
    if: Vectors.exist("line-protocol/corpus.json"),
    "SKIPPED: the line protocol corpus is not at ../shared/vectors; set FOREBAY_VECTORS to its folder"))
struct LineProtocolCorpusTests {
  private static func bytes(_ value: Any?) -> [UInt8]? {
    if let text = value as? String { return Array(text.utf8) }
    guard let binary = (value as? [String: Any])?["binary"] as? String else { return nil }
    return Data(base64Encoded: binary).map { Array($0) }
  }

  /// To 15 digits, because Foundation, which reads the corpus, is off by one in the 16th now and then. The
  /// corpus has no negative zero.
  private static func number(_ value: Double) -> String { String(format: "%.15g", value == 0 ? 0 : value) }

  /// A point of the corpus in the form that ``points(_:)`` gives.
  private static func expected(_ point: [String: Any], without time: Int64) throws -> String {
    let tags = try #require(point["tags"] as? [[String: Any]])
      .map { "\(bytes($0["key"]) ?? [])=\(bytes($0["value"]) ?? [])" }
    let fields = try #require(point["fields"] as? [[String: Any]]).map { field in
      let (kind, value) = try #require((field["value"] as? [String: Any])?.first)
      let text =
        switch kind {
        case "string": "\(bytes(value) ?? [])"
        case "bool": "\(try #require(value as? Bool))"
        case "float": number(try #require(value as? Double))
        default: "\(try #require(value as? NSNumber))"
        }
      return "\(bytes(field["key"]) ?? [])=\(text)"
    }
    return "\(bytes(point["name"]) ?? []) \(tags.sorted()) \(fields) \(try #require(point["time"] as? Int64))"
  }

  /// What the transcoder wrote; `kinds` are those of the fields, for a number without a point may be either.
  private static func points(_ json: [UInt8], kinds: [[String]], without time: Int64) throws -> [String] {
    let tape = try read(json).get()
    return json.withUnsafeBytes { bytes in
      func members(_ index: Int) -> [(name: [UInt8], value: JSONTape.Value)] {
        var members: [(name: [UInt8], value: JSONTape.Value)] = []
        var child = index + 1
        while child < tape.values[index].next {
          let raw = UnsafeRawBufferPointer(rebasing: bytes[tape.values[child].name])
          members.append((JSONText.unescape(raw), tape.values[child]))
          child = tape.values[child].next
        }
        return members
      }
      func find(_ name: String, _ index: Int) -> Int { tape.member(Array(name.utf8), of: index, in: bytes) ?? 0 }
      var points: [String] = []
      var point = 1
      while point < tape.root.next {
        let kinds = points.count < kinds.count ? kinds[points.count] : []
        let tags = members(find("tags", point)).map { "\($0.name)=\(tape.text($0.value, in: bytes))" }
        let fields = members(find("fields", point)).enumerated().map { index, field in
          let text = String(decoding: bytes[field.value.range], as: UTF8.self)
          let isFloat = index < kinds.count && kinds[index] == "float"
          return switch field.value.kind {
          case .string: "\(field.name)=\(tape.text(field.value, in: bytes))"
          case .number where isFloat: "\(field.name)=\(number(Double(text) ?? .nan))"
          default: "\(field.name)=\(text)"
          }
        }
        let name = tape.text(tape.values[find("measurement", point)], in: bytes)
        let stamp = find("time", point)
        let own = stamp == 0 ? nil : Int64(String(decoding: bytes[tape.values[stamp].range], as: UTF8.self))
        points.append("\(name) \(tags.sorted()) \(fields) \(own ?? time)")
        point = tape.values[point].next
      }
      return points
    }
  }

  @Test("All of the 6,615 cases agree: 395 payloads in all the parts of their points, 6,220 refusals")
  func corpus() throws {
    let corpus = try #require(try Vectors.json("line-protocol/corpus.json") as? [String: Any])
    let cases = try #require(corpus["decode"] as? [String: [String: [String: Any]]])
    #expect(cases.count == 6_615)
    var (points, refusals, different) = (0, 0, [String]())
    let precisions: [String: (LineProtocolTranscoder.Precision, Int64)] = [
      "1ns": (.nanoseconds, 1), "1µs": (.microseconds, 1_000), "1ms": (.milliseconds, 1_000_000),
      "1s": (.seconds, 1_000_000_000),
    ]
    for (key, entry) in cases {
      let input = try #require(entry["input"])
      let text = try #require(LineProtocolCorpusTests.bytes(input["text"]))
      let (precision, unit) = try #require(precisions[input["precision"] as? String ?? ""])
      let result = transcoder(precision).result(text)
      // The longer ones take long and say nothing new.
      if text.count <= 64 { transcoder(precision).takesCuts(of: text) }
      guard let wanted = entry["output"]?["result"] as? [[String: Any]] else {
        refusals += 1
        if result.error == nil { different.append(key) }
        continue
      }
      points += 1
      let time = try #require(input["defaultTime"] as? Int64)
      let kinds = wanted.map { point in
        (point["fields"] as? [[String: Any]] ?? []).map { ($0["value"] as? [String: Any])?.keys.first ?? "" }
      }
      let without = time / unit * unit
      let expected = try wanted.map { try LineProtocolCorpusTests.expected($0, without: without) }
      guard let json = try? result.get(),
        try LineProtocolCorpusTests.points(Array(json.utf8), kinds: kinds, without: without) == expected
      else {
        different.append(key)
        continue
      }
    }
    #expect(points == 395 && refusals == 6_220)
    #expect(different == [])
  }
}
