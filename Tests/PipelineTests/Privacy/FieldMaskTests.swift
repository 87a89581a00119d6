import Pipeline
import Telemetry
import Testing

/// Applies rules, written as path and method, to a JSON object.
private func mask(
  _ json: String, _ rules: [(String, FieldMask.Method)], _ tokeniser: Tokeniser? = nil
) throws -> String {
  var mask = try FieldMask(
    rules: try rules.map { FieldMask.Rule(fields: try FieldPattern(parsing: $0.0), method: $0.1) },
    tokeniser: tokeniser)
  var output: [UInt8] = []
  try withTape(json.utf8) { mask.append($0, 0, in: $1, to: &output) }
  // Whatever goes out must be JSON again.
  _ = try read(output).get()
  return try #require(String(validating: output, as: UTF8.self))
}

private func key(_ id: String, _ byte: UInt8) throws -> Tokeniser.Key {
  try Tokeniser.Key(id: id, secret: Secret([UInt8](repeating: byte, count: 32)))
}

@Suite("Field mask")
struct FieldMaskTests {
  static let dropped: [(json: String, path: String, expected: String)] = [
    (#"{"a":1}"#, "a", "{}"),
    (#"{"a":1,"b":2,"c":3}"#, "a", #"{"b":2,"c":3}"#),
    (#"{"a":1,"b":2,"c":3}"#, "b", #"{"a":1,"c":3}"#),
    (#"{"a":1,"b":2,"c":3}"#, "c", #"{"a":1,"b":2}"#),
    (#"{ "a" : 1 , "b" : { "x" : [ 1 , 2 ] } }"#, "a", #"{"b":{"x":[1,2]}}"#),
    (#"{"a":{"b":{"c":1}},"d":2}"#, "a.b.c", #"{"a":{"b":{}},"d":2}"#),
    (#"{"a":[1,2,3],"d":2}"#, "a[1]", #"{"a":[1,3],"d":2}"#),
    (#"{"a":[1,2,3],"d":2}"#, "a[]", #"{"a":[],"d":2}"#),
    (
      #"{"rxInfo":[{"gatewayId":"x","rssi":-1},{"rssi":-2},5,{"gatewayId":7}]}"#, "rxInfo[].gatewayId",
      #"{"rxInfo":[{"rssi":-1},{"rssi":-2},5,{}]}"#
    ),
    (#"{"a":[[{"b":1}],[{"b":2,"c":3}]]}"#, "a[][].b", #"{"a":[[{}],[{"c":3}]]}"#),
    (#"{"a":[[1,2],[3]]}"#, "a[][0]", #"{"a":[[2],[]]}"#),
    (#"{"a":1,"b":2,"a":3,"\u0061":4}"#, "a", #"{"b":2}"#),
    (#"{"a b":1,"c.d":2}"#, #"["c.d"]"#, #"{"a b":1}"#),
    (#"{"x[]y":1,"b":2}"#, #"["x[]y"]"#, #"{"b":2}"#),
    (#"{"b":2,"o":{"\"[]":1}}"#, #"o["\"[]"]"#, #"{"b":2,"o":{}}"#),
    (#"{"b":2}"#, "a", #"{"b":2}"#),
    (#"{"a":5}"#, "a.b", #"{"a":5}"#),
    (#"{"a":{"b":1}}"#, "a[]", #"{"a":{"b":1}}"#),
    (#"{"a":null}"#, "a", "{}"),
    ("{}", "a", "{}"),
  ]

  @Test("A dropped field is gone wherever it stands, and the rest is as it was", arguments: dropped)
  func dropping(json: String, path: String, expected: String) throws {
    #expect(try mask(json, [(path, .drop)]) == expected)
  }

  static let masked: [(value: String, kept: Int, expected: String)] = [
    (#""DE02120300000000202051""#, 4, #""****2051""#),
    (#""DE02""#, 4, #""****""#),
    (#""E02""#, 4, #""****""#),
    (#""xDE02""#, 4, #""****DE02""#),
    (#""secret""#, 0, #""****""#),
    (#""""#, 4, #""****""#),
    (#""Jörg Müßig""#, 3, #""****ßig""#),
    (#""\u00e9\u00e8\"\n\\""#, 3, #""****\"\n\\""#),
    (#""😀😀😀""#, 1, #""****😀""#),
    ("123456789", 3, #""****789""#),
    ("-1.5", 1, #""****5""#),
    ("true", 2, #""****ue""#),
    ("null", 2, "null"),
    (#"{"first":"secret"}"#, 4, #""****""#),
    (#"["secret"]"#, 4, #""****""#),
  ]

  @Test("A masked value shows its last characters at most, whatever a device puts there", arguments: masked)
  func masking(value: String, kept: Int, expected: String) throws {
    #expect(try mask(#"{"a":\#(value),"b":1}"#, [("a", .mask(keepingLast: kept))]) == #"{"a":\#(expected),"b":1}"#)
  }

  @Test("A hash is that of the text, however it is written")
  func hashing() throws {
    let digest = Digest(of: Array("é1".utf8)).hex
    for text in [#""é1""#, #""\u00e91""#] {
      #expect(try mask(#"{"a":\#(text)}"#, [("a", .hash(digits: 64))]) == #"{"a":"\#(digest)"}"#)
      #expect(try mask(#"{"a":\#(text)}"#, [("a", .hash(digits: 17))]) == #"{"a":"\#(digest.prefix(17))"}"#)
    }
    // FIPS 180-2, appendix B.1.
    #expect(
      try mask(#"{"a":"abc"}"#, [("a", .hash(digits: 16))]) == #"{"a":"ba7816bf8f01cfea"}"#)
    let compact = try mask(#"{"a":{"b":[1,"x y"]}}"#, [("a", .hash(digits: 64))])
    #expect(try mask(#"{ "a" : { "b" : [ 1 , "x y" ] } }"#, [("a", .hash(digits: 64))]) == compact)
    #expect(compact == #"{"a":"\#(Digest(of: Array(#"{"b":[1,"x y"]}"#.utf8)).hex)"}"#)
  }

  @Test("Rules that meet: the outer value's wins, and of the same value's the first")
  func meeting() throws {
    let json = #"{"p":{"name":"secret","n":1},"l":["secret","open"]}"#
    #expect(try mask(json, [("p.name", .drop), ("p", .mask(keepingLast: 0))]).hasPrefix(#"{"p":"****","l""#))
    #expect(
      try mask(
        json, [("p", .drop), ("p.name", .mask(keepingLast: 3)), ("l[0]", .drop), ("l[]", .mask(keepingLast: 2))])
        == #"{"l":["****en"]}"#)
    #expect(
      try mask(json, [("l[]", .mask(keepingLast: 2)), ("l[0]", .drop)])
        == #"{"p":{"name":"secret","n":1},"l":["****et","****en"]}"#)
  }

  @Test("A reading within a larger payload is masked alone, and again and again")
  func within() throws {
    let text = #"[{"a":"secret"},{"b":{"a":"open"},"a":"secret"}]"#
    var mask = try FieldMask(rules: [.init(fields: try FieldPattern(parsing: "a"), method: .mask(keepingLast: 0))])
    for _ in 0..<3 {
      var output = Array("x".utf8)
      try withTape(text.utf8) { tape, bytes in
        mask.append(tape, try #require(tape.element(1, of: 0)), in: bytes, to: &output)
      }
      #expect(String(decoding: output, as: UTF8.self) == #"x{"b":{"a":"open"},"a":"****"}"#)
    }
  }

  @Test("Without rules a reading comes out compact; nested 128 deep it does too, masked at the bottom")
  func depth() throws {
    #expect(try mask(#"{ "a" : [ 1.0 ] }"#, []) == #"{"a":[1.0]}"#)
    let deep = String(repeating: #"{"a":"#, count: 127) + #"{"a":1,"s":"secret"}"# + String(repeating: "}", count: 127)
    #expect(try mask(deep, [("s", .drop)]) == deep)
    let path = Array(repeating: "a", count: 31).joined(separator: ".") + ".b"
    #expect(try mask(deep, [(path, .drop)]) == deep)
  }

  @Test("Readings of many values and hostile shape hold no secret afterwards", arguments: 0..<6)
  func property(seed: Int) throws {
    var generator = SeededGenerator(seed: UInt64(seed))
    let names = ["name", "\\u006eame", "nam\\u0065", "other"]
    let tokeniser = try Tokeniser(keys: [try key("k1", 1)])
    let methods: [FieldMask.Method] = [.drop, .mask(keepingLast: 0), .hash(digits: 32), .tokenise]
    func value(_ secret: Bool, _ depth: Int) -> String {
      let word = secret ? "secret" : "open"
      switch Int.random(in: 0..<(depth > 3 ? 2 : 4), using: &generator) {
      case 0: return "\"\(word)\""
      case 1: return secret ? "\"\\u0073ecret secret\"" : "[ 1 , 2 ]"
      case 2: return "[" + (0..<3).map { _ in value(secret, depth + 1) }.joined(separator: " , ") + "]"
      default: return "{" + (0..<3).map { "\"\($0)\" : " + value(secret, depth + 1) }.joined(separator: ",") + "}"
      }
    }
    for round in 0..<200 {
      let people = (0..<3).map { _ in
        "{"
          + (0..<4).map { _ in
            let name = names.randomElement(using: &generator)!
            return "\"\(name)\":" + value(name != "other", 0)
          }.joined(separator: ", ") + "}"
      }
      let json = "{\"people\":[\(people.joined(separator: ","))],\"open\":\"open\"}"
      let result = try mask(json, [("people[].name", methods[round % methods.count])], tokeniser)
      #expect(!result.contains("secret") && !result.contains("ecret"))
      #expect(result.hasSuffix("\"open\":\"open\"}"))
    }
  }

  // MARK: Configuration

  @Test("What cannot be is refused with the rule's number and kind")
  func refusing() throws {
    func kind(_ rules: [(String, FieldMask.Method)]) throws -> MaskError.Kind? {
      do { _ = try mask("{}", rules) } catch let error as MaskError {
        #expect(error.rule == rules.count - 1)
        return error.kind
      }
      return nil
    }
    #expect(try kind([("a", .drop), ("a", .hash(digits: 16))]) == .duplicate)
    #expect(try kind([("a.b", .drop), (#"["a"].b"#, .drop)]) == .duplicate)
    #expect(try kind([("a", .mask(keepingLast: -1))]) == .range)
    #expect(try kind([("a", .mask(keepingLast: 33))]) == .range)
    #expect(try kind([("a", .hash(digits: 15))]) == .range)
    #expect(try kind([("a", .hash(digits: 65))]) == .range)
    #expect(try kind([("a", .tokenise)]) == .keyMissing)
    #expect(try kind((0...FieldMask.maximumRules).map { ("a\($0)", .drop) }) == .tooMany)
    #expect(try kind((0..<FieldMask.maximumRules).map { ("a\($0)", .drop) }) == nil)
  }

  @Test(
    "A path that is none is refused with its place",
    arguments: [
      ("", 0), ("[]", 0), ("[].a", 0), ("a[]b", 3), ("a[].", 4), ("a[].[]", 4), ("a..b[]", 2), ("a[][x]", 4), ("a[", 2),
      (Array(repeating: "a", count: 33).joined(separator: "."), 0),
    ])
  func patterns(text: String, position: Int) throws {
    let error = try #require(throws: FieldPath.Malformed.self) { try FieldPattern(parsing: text) }
    #expect(error.position == position, "\(error)")
  }
}

@Suite("Tokens")
struct TokeniserTests {
  /// RFC 4231, sections 4.2 to 4.8; of case 5 the first 16 bytes are given.
  static let vectors: [(key: [UInt8], data: [UInt8], code: String)] = [
    (
      [UInt8](repeating: 0x0B, count: 20), Array("Hi There".utf8),
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    ),
    (
      Array("Jefe".utf8), Array("what do ya want for nothing?".utf8),
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    ),
    (
      [UInt8](repeating: 0xAA, count: 20), [UInt8](repeating: 0xDD, count: 50),
      "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
    ),
    (
      Array(1...25), [UInt8](repeating: 0xCD, count: 50),
      "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"
    ),
    ([UInt8](repeating: 0x0C, count: 20), Array("Test With Truncation".utf8), "a3b6167473100ee06e0c796c2955552b"),
    (
      [UInt8](repeating: 0xAA, count: 131), Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    ),
    (
      [UInt8](repeating: 0xAA, count: 131),
      Array(
        ("This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
          + "hashed before being used by the HMAC algorithm.").utf8),
      "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"
    ),
  ]

  @Test("HMAC-SHA-256 gives the codes of RFC 4231", arguments: vectors)
  func hmac(key: [UInt8], data: [UInt8], code: String) {
    #expect(Hex.encode(HMAC(key: key).code(of: data)).hasPrefix(code))
    #expect(HMAC(key: key).code(of: data).count == 32)
  }

  @Test("A token is its key's id and the first half of the code, the same for the same text")
  func tokens() throws {
    let secret = [UInt8](repeating: 0x0B, count: 20)
    let tokeniser = try Tokeniser(keys: [try Tokeniser.Key(id: "k-1", secret: Secret(secret))])
    #expect(tokeniser.token(of: Array("Hi There".utf8)) == "k-1.b0344c61d8db38535ca8afceaf0bf12b")
    let json = #"{"a":"Hi There","b":{"a":"\u0048i There"}}"#
    #expect(
      try mask(json, [("a", .tokenise), ("b.a", .tokenise)], tokeniser)
        == #"{"a":"k-1.b0344c61d8db38535ca8afceaf0bf12b","b":{"a":"k-1.b0344c61d8db38535ca8afceaf0bf12b"}}"#)
  }

  @Test("A new key gives new tokens, and the old ones are still known beside them")
  func rotation() throws {
    let value = Array("+49 151 000".utf8)
    let before = try Tokeniser(keys: [try key("2025", 1)])
    let after = try Tokeniser(keys: [try key("2026", 2), try key("2025", 1)])
    #expect(before.token(of: value) != after.token(of: value))
    #expect(after.token(of: value).hasPrefix("2026."))
    #expect(after.tokens(of: value) == [after.token(of: value), before.token(of: value)])
  }

  @Test("Keys that cannot be are refused, and no text about a key holds it")
  func keys() throws {
    func kind(_ make: () throws -> Void) -> MaskError.Kind? {
      do { try make() } catch let error as MaskError {
        #expect(!error.description.contains("SECRET"))
        return error.kind
      } catch { return nil }
      return nil
    }
    let secret = Array("SECRETSECRETSECRET".utf8)
    #expect(kind { _ = try Tokeniser.Key(id: "a", secret: Secret(Array(secret.prefix(15)))) } == .keyTooShort)
    #expect(kind { _ = try Tokeniser.Key(id: "", secret: Secret(secret)) } == .keyID)
    #expect(kind { _ = try Tokeniser.Key(id: "a.b", secret: Secret(secret)) } == .keyID)
    #expect(kind { _ = try Tokeniser.Key(id: String(repeating: "a", count: 17), secret: Secret(secret)) } == .keyID)
    #expect(kind { _ = try Tokeniser(keys: []) } == .keyMissing)
    #expect(kind { _ = try Tokeniser(keys: [try key("a", 1), try key("a", 2)]) } == .keyID)
    let tokeniser = try Tokeniser(keys: [try Tokeniser.Key(id: "a", secret: Secret(secret))])
    let rules = [FieldMask.Rule(fields: try FieldPattern(parsing: "a"), method: .tokenise)]
    var dumped = ""
    dump(try FieldMask(rules: rules, tokeniser: tokeniser), to: &dumped)
    // The padded key begins with S ^ 0x36 = 101 and E ^ 0x36 = 115.
    for text in ["\(tokeniser)", String(reflecting: tokeniser), dumped] {
      #expect(!text.contains("SECRET") && !text.contains("101"))
    }
    #expect(dumped.contains("key a") || dumped.contains("tokens under key a"))
  }
}
