import Pipeline
import Testing

/// What the tape reads eight bytes at a time, against ``JSONReference``.
@Suite("JSON scan")
struct JSONScanTests {
  /// Nil where both read the same from a text, or else what they read.
  private func difference(_ text: [UInt8]) -> String? {
    let expected = JSONReference.read(text).map { [JSONReference.Value]($0.values) + [mark($0.hasWhitespace)] }
    let found = read(text).map { tape in
      tape.values.map {
        JSONReference.Value(
          kind: $0.kind, hasEscapes: $0.hasEscapes, nameHasEscapes: $0.nameHasEscapes, range: $0.range, name: $0.name,
          next: $0.next, count: Int($0.count))
      } + [mark(tape.hasWhitespace)]
    }
    return found == expected ? nil : "\(String(decoding: text, as: UTF8.self)): \(found) instead of \(expected)"
  }

  /// Whether there was whitespace, as one more value.
  private func mark(_ hasWhitespace: Bool) -> JSONReference.Value {
    JSONReference.Value(kind: .null, hasEscapes: hasWhitespace, range: 0..<0)
  }

  /// Texts that have `token` at every distance from their beginning and from their end, within one word.
  private func surrounded(_ token: [UInt8]) -> [[UInt8]] {
    var texts = [token, Array(#"{"a":"#.utf8) + token]
    for padding in 0..<9 {
      let before = Array("[\"".utf8) + [UInt8](repeating: 0x61, count: padding) + Array("\",".utf8)
      texts.append(before + token + Array("]".utf8))
      texts.append(before + token)
      texts.append(before + token + [UInt8](repeating: 0x20, count: padding) + Array("]".utf8))
      texts.append(Array("[".utf8) + token + Array(",".utf8) + [UInt8](repeating: 0x31, count: padding + 1) + [0x5D])
      texts.append(Array(#"{"a":"#.utf8) + token + Array(#","b":"#.utf8) + token + Array("}".utf8))
    }
    return texts
  }

  static let special: [[UInt8]] = [
    [], [0x22], [0x5C], Array(#"\n"#.utf8), Array(#"\""#.utf8), Array(#"\u00e9"#.utf8), Array(#"\uD83D\uDE00"#.utf8),
    [0x00], [0x1F], [0x20], [0x21], [0x23], [0x5B], [0x5D], [0x7F], [0x80], [0xA2], [0xC3, 0xA9], [0xDC], [0xFF],
    Array("😀".utf8),
  ]

  @Test("Strings and names of every length are read alike with everything at every place of them", arguments: special)
  func strings(special: [UInt8]) {
    for length in 0..<19 {
      for place in 0...length {
        let inside =
          [UInt8](repeating: 0x62, count: place) + special + [UInt8](repeating: 0x63, count: length - place)
        let string = [0x22] + inside + [0x22]
        let texts = [
          string, [0x5B] + string + [0x5D], [0x7B] + string + Array(":1}".utf8), Array("[1,".utf8) + string,
        ]
        for text in texts {
          if let difference = difference(text) { Issue.record("\(difference)") }
        }
        guard place % 7 == 0 else { continue }
        for text in surrounded(string) { if let difference = difference(text) { Issue.record("\(difference)") } }
      }
    }
  }

  @Test("Whatever is made of what numbers are made of is read alike")
  func numbers() {
    let alphabet = Array("019-+.eE,".utf8)
    var tokens: [[UInt8]] = [[]]
    for _ in 0..<4 {
      tokens = tokens.flatMap { token in [token] + alphabet.map { token + [$0] } }
      tokens = Array(Set(tokens)).sorted { $0.lexicographicallyPrecedes($1) }
    }
    for token in tokens {
      for tail in ["", "]", ",\"abcdefgh\"]", "}"] {
        let text = Array("[".utf8) + token + Array(tail.utf8)
        if let difference = difference(text) { Issue.record("\(difference)") }
      }
    }
  }

  @Test("Numbers of every length, with a point and an exponent at every place, are read alike")
  func longNumbers() {
    for length in 1..<20 {
      for place in 0..<length {
        for mark in ["", ".", "e", "E-", ".0e+", ":", "/", "-", "é", "\u{0}"] {
          let digits = (0..<length).map { UInt8(0x31 + $0 % 9) }
          let token = Array(digits[..<place]) + Array(mark.utf8) + Array(digits[place...])
          for sign in ["", "-", "0", "-0"] where place % 5 == 0 || sign.isEmpty {
            for text in surrounded(Array(sign.utf8) + token).prefix(place % 3 == 0 ? 60 : 6) {
              if let difference = difference(text) { Issue.record("\(difference)") }
            }
          }
        }
      }
    }
  }

  @Test("Texts with anything changed, left out or put in are read alike")
  func mutations() {
    let samples = [
      #"{"device":"pump-1007","ts":1793000000007,"temperature":-5.53,"flow":0.00,"state":"running","ok":true,"seq":7}"#,
      #"[{"n":"a","v":[1,2.5,-3e5,{"x":null}]},{"n":"b\u0041é","v":[]},{},[[],[{}]],false,"😀"]"#,
      " { \"a\" : [ 1 , 2 ] ,\r\n\t\"b c\" : { \"d\" : \"e\\\"f\" } } ",
    ]
    let bytes = Array("{}[],:\"\\ 0159.-eEtfnu\u{0}\n".utf8) + [0x7F, 0x80, 0xC3, 0xA9, 0xED, 0xF0, 0xFF]
    var random = SeededGenerator(seed: 5)
    for sample in samples {
      let sample = Array(sample.utf8)
      #expect(difference(sample) == nil)
      for length in 0..<sample.count { #expect(difference(Array(sample[..<length])) == nil) }
      for _ in 0..<4_000 {
        var text = sample
        for _ in 0...Int.random(in: 0..<3, using: &random) {
          let place = Int.random(in: 0..<text.count, using: &random)
          switch Int.random(in: 0..<3, using: &random) {
          case 0: text[place] = bytes.randomElement(using: &random)!
          case 1: text.insert(bytes.randomElement(using: &random)!, at: place)
          default: text.remove(at: place)
          }
          if text.isEmpty { break }
        }
        if let difference = difference(text) { Issue.record("\(difference)") }
      }
    }
  }

  @Test("A tape finds room for as many values as there are, and reads short texts afterwards")
  func room() throws {
    var tape = JSONTape()
    for count in [1, 15, 16, 17, 18, 100, 40_000, 3] {
      let text = Array("[\([String](repeating: "1", count: count).joined(separator: ","))]".utf8)
      try text.withUnsafeBytes { try tape.read($0) }
      #expect(tape.values.count == count + 1 && tape.root.next == count + 1 && tape.root.count == Int32(count))
      #expect(tape.values.allSatisfy { $0.kind == .number || $0.range == text.indices })
    }
  }

  @Test("A number of digits is the same event time with and without an exponent of zero")
  func eventTimes() {
    func time(_ text: String, _ unit: PipelineSettings.TimeUnit) -> Int64? {
      Array(text.utf8).withUnsafeBytes { EventTime.nanoseconds(number: $0, unit: unit) }
    }
    for unit in [PipelineSettings.TimeUnit.seconds, .milliseconds, .microseconds, .nanoseconds] {
      for length in 1...20 {
        for first in 1...9 {
          let text = String((0..<length).map { Character("\((first + $0 * 3) % 9 + ($0 == 0 ? 1 : 0))") })
          #expect(time(text, unit) == time(text + "e0", unit), "\(text)")
        }
        for place in 1..<max(length, 2) {
          var text = String(repeating: "7", count: length)
          text.insert(".", at: text.index(text.startIndex, offsetBy: place))
          text += "5"
          #expect(time(text, unit) == time(text + "e0", unit), "\(text)")
        }
      }
    }
    #expect(time("1793000000007", .milliseconds) == 1_793_000_000_007_000_000)
    #expect(time("12345678", .seconds) == 12_345_678_000_000_000)
  }

  @Test("A writer that remembers the minute writes what is written without it")
  func times() {
    var writer = RFC3339.Writer()
    var random = SeededGenerator(seed: 9)
    var times: [Int64] = [0, -1, 59_999_999_999, 60_000_000_000, .max, .min, .max, 1_793_000_000_000_000_000]
    for _ in 0..<2_000 {
      let near = times[times.count - 1] &+ Int64.random(in: -61_000_000_000...61_000_000_000, using: &random)
      times.append(near)
      times.append(near / 1_000_000 * 1_000_000)
      times.append(near / 1_000_000_000 * 1_000_000_000)
    }
    for time in times {
      let written = [UInt8](unsafeUninitializedCapacity: RFC3339.maximumLength) { room, count in
        count = writer.write(time, to: room.baseAddress!)
      }
      #expect(String(decoding: written, as: UTF8.self) == RFC3339.text(time))
    }
  }
}
