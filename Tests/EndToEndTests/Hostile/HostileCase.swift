/// One bad input, and what is to become of it.
struct HostileCase {
  enum Fate: Equatable {
    /// The broker ends the connection, or says no in its PUBACK.
    case refusedByBroker
    /// The broker takes it and has nobody to give it to.
    case unheard
    /// A dead letter under this rule; the pipeline behind the topic has the message once as `rejected`.
    case rejected(String)
    /// Strange and in order: so many readings.
    case delivered(Int)
  }

  var name: String
  var topic: [UInt8]
  var payload: [UInt8]
  var properties: [UInt8] = []
  /// In place of a PUBLISH: what is sent.
  var packet: [UInt8]?
  var fate: Fate
}

/// Bytes of several kinds, one after the other.
func bytes(_ first: [UInt8], _ rest: [UInt8]...) -> [UInt8] { rest.reduce(first, +) }
func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

func many(_ text: String, _ count: Int) -> [UInt8] {
  let one = Array(text.utf8)
  if one.count == 1 { return [UInt8](repeating: one[0], count: count) }
  var all: [UInt8] = []
  all.reserveCapacity(one.count * count)
  for _ in 0..<count { all += one }
  return all
}

/// Every case there is. The pipelines that the topics lead to are those of ``HostilePipelines``.
enum HostileCases {
  static let all = [
    broker, packets, json, time, odd, million, keys, topics, properties, lines, rows, binary, packs, values, windows,
  ].flatMap { $0 }

  /// Event time in order.
  private static let ts = "\"ts\":1700000000000"

  // MARK: What the broker keeps out

  private static let broker: [HostileCase] = topicsKeptOut.map {
    HostileCase(name: $0.0, topic: $0.1, payload: bytes("{}"), fate: .refusedByBroker)
  }

  private static let topicsKeptOut: [(String, [UInt8])] = [
    ("a topic with NUL", bytes("h/a\0b")), ("a topic with U+0001", bytes("h/a\u{1}b")),
    ("a topic with an escape sequence", bytes("h/\u{1B}[31m")), ("a topic with a line feed", bytes("h/a\nb")),
    ("a topic with DEL", bytes("h/\u{7F}")), ("a topic with a C1 control", bytes("h/\u{9B}31m")),
    ("a topic with U+FFFF", bytes(bytes("h/"), [0xEF, 0xBF, 0xBF])),
    ("a topic with U+FDD0", bytes(bytes("h/"), [0xEF, 0xB7, 0x90])),
    ("a topic with a surrogate", bytes(bytes("h/"), [0xED, 0xA0, 0x80])),
    ("a topic in an overlong form", bytes(bytes("h/"), [0xC0, 0xAF])), ("a topic with +", bytes("h/+")),
    ("a topic with #", bytes("h/#")), ("an empty topic", []), ("a topic of 251 levels", many("a/", 250)),
    ("a topic of the broker's own", bytes("$SYS/broker/publish/messages/dropped")),
    ("a topic of a shared subscription", bytes("$share/g/h")),
  ]

  private static let packets: [HostileCase] = {
    func text(_ value: [UInt8]) -> [UInt8] { RawDevice.text(value) }
    let properties: [(String, [UInt8])] = [
      ("a property twice", [1, 0, 1, 0]), ("a content type that is no UTF-8", bytes([3], text([0xFF]))),
      ("a content type with an escape", bytes([3], text([0x1B]))),
      ("a user property with an escape", bytes([0x26], text([0x1B]), text([0x62]))),
      ("a user property with NUL", bytes([0x26], text([0]), text([0x62]))), ("topic alias 0", [0x23, 0, 0]),
      ("a topic alias beyond the limit", [0x23, 0xFF, 0xFF]), ("an unknown property", [0x7F, 0]),
      ("a property of CONNACK", [0x13, 0, 1]), ("a property that is cut off", [0x26, 0, 5, 0x61]),
    ]
    let whole: [(String, [UInt8])] = [
      ("an unknown topic alias", RawDevice.publish([], [], properties: [0x23, 0, 5], id: 1)),
      ("properties longer than the packet", bytes([0x32, 10], text(bytes("h/p")), [0, 1, 0x7F, 0x78, 0x78])),
      ("packet identifier 0", RawDevice.publish(bytes("h/x"), [], id: 0)),
      ("QoS 3", bytes([0x36], Array(RawDevice.publish(bytes("h/x"), [], id: 1).dropFirst()))),
      ("a length of five bytes", [0x32, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
      ("a topic longer than its packet", [0x32, 2, 0, 5]),
      ("an empty PUBLISH", [0x32, 0]), ("a packet of type 0", [0, 0]), ("a packet of type 15", [0xF0, 0]),
      ("a second CONNECT", RawDevice.packet(0x10, bytes(text(bytes("MQTT")), [5, 2, 0, 0, 0, 0, 0]))),
    ]
    return properties.map {
      HostileCase(name: $0.0, topic: bytes("h/x/y"), payload: [], properties: $0.1, fate: .refusedByBroker)
    } + whole.map { HostileCase(name: $0.0, topic: [], payload: [], packet: $0.1, fate: .refusedByBroker) }
  }()

  // MARK: JSON

  private static func numbered(
    _ prefix: String, _ cases: [(String, [UInt8], HostileCase.Fate)]
  ) -> [HostileCase] {
    cases.enumerated().map { index, entry in
      HostileCase(name: entry.0, topic: bytes("h/\(prefix)\(index)/x"), payload: entry.1, fate: entry.2)
    }
  }

  private static func object(_ rest: String) -> [UInt8] { bytes("{\(ts)\(rest)}") }

  private static let json = numbered(
    "json",
    [
      ("nothing", [], .rejected("json.empty")), ("white space", bytes(" \n\t "), .rejected("json.empty")),
      ("a NUL", [0], .rejected("json.syntax")), ("an object without end", bytes("{\(ts),"), .rejected("json.syntax")),
      ("something behind the end", bytes(object(""), [0x78]), .rejected("json.syntax")),
      ("two objects", bytes(object(""), object("")), .rejected("json.syntax")),
      ("a byte order mark", bytes([0xEF, 0xBB, 0xBF], object("")), .rejected("json.syntax")),
      ("UTF-16", [0xFF, 0xFE, 0x7B, 0, 0x7D, 0], .rejected("json.syntax")),
      ("100,000 arrays", many("[", 100_000), .rejected("json.depth")),
      ("100,000 objects", many("{\"a\":", 100_000), .rejected("json.depth")),
      (
        "129 levels", bytes(bytes("{\(ts),\"a\":"), many("[", 128), many("]", 128), bytes("}")), .rejected("json.depth")
      ),
      ("NaN", object(",\"v\":NaN"), .rejected("json.syntax")),
      ("Infinity", object(",\"v\":-Infinity"), .rejected("json.syntax")),
      ("a number that begins with 0", object(",\"v\":01"), .rejected("json.syntax")),
      ("a comment", object(",/* */\"v\":1"), .rejected("json.syntax")),
      ("single quotes", bytes("{'ts':1}"), .rejected("json.syntax")),
      ("half a surrogate pair", object(",\"s\":\"\\ud800\""), .rejected("json.utf8")),
      ("an escape character in a string", object(",\"s\":\"\u{1B}\""), .rejected("json.syntax")),
      ("bytes that are no UTF-8", bytes(bytes("{\(ts),\"s\":\""), [0xC3, 0x28], bytes("\"}")), .rejected("json.utf8")),
      ("an overlong form", bytes(bytes("{\(ts),\"s\":\""), [0xC0, 0xAF], bytes("\"}")), .rejected("json.utf8")),
      ("an array", bytes("[1]"), .rejected("json.not-object")), ("a number", bytes("7"), .rejected("json.not-object")),
      ("null", bytes("null"), .rejected("json.not-object")),
      ("a string of 10 MB without end", bytes(bytes("{\"s\":\""), many("x", 10_000_000)), .rejected("json.syntax")),
    ])

  private static let time = numbered(
    "time",
    [
      ("no time", bytes("{}"), .rejected("time.missing")),
      ("a time that is text", bytes("{\"ts\":\"now\"}"), .rejected("time.type")),
      ("a time that is null", bytes("{\"ts\":null}"), .rejected("time.type")),
      ("a time that is an object", bytes("{\"ts\":{\"ts\":1}}"), .rejected("time.type")),
      ("a time before 1970", bytes("{\"ts\":-1}"), .rejected("time.range")),
      ("the year 9999999", bytes("{\"ts\":315537897599999999}"), .rejected("time.range")),
      ("a time of 1e999999", bytes("{\"ts\":1e999999}"), .rejected("time.range")),
      ("a time of 100,000 digits", bytes(bytes("{\"ts\":"), many("9", 100_000), bytes("}")), .rejected("time.range")),
      ("a time of 1e-999999", bytes("{\"ts\":1e-999999}"), .delivered(1)),
      ("a time with 100,000 zeros", bytes(bytes("{\"ts\":0."), many("0", 100_000), bytes("1}")), .delivered(1)),
      ("a time that stands there twice", bytes("{\"ts\":\"x\",\(ts)}"), .delivered(1)),
    ])

  private static let odd = numbered(
    "odd",
    [
      ("128 levels", bytes(bytes("{\(ts),\"a\":"), many("[", 127), many("]", 127), bytes("}")), .delivered(1)),
      ("a number of 100,000 digits", bytes(bytes("{\(ts),\"x\":"), many("7", 100_000), bytes("}")), .delivered(1)),
      ("1e999999", object(",\"x\":1e999999"), .delivered(1)),
      ("1e999999 in an expression", object(",\"v\":1e999999"), .delivered(1)),
      ("markup in an expression", object(",\"v\":\"<script>\""), .delivered(1)),
      ("a sequence number of 1e999", object(",\"seq\":1e999"), .delivered(1)),
      ("a sequence number below 0", object(",\"seq\":-5"), .delivered(1)),
      ("a sequence number of 23 digits", object(",\"seq\":99999999999999999999999"), .delivered(1)),
      ("a sequence number that is an object", object(",\"seq\":{}"), .delivered(1)),
      ("names of other languages' internals", object(",\"__proto__\":{\"a\":1},\"\":2,\"a.b[0]\":3"), .delivered(1)),
      ("one name 100,000 times", bytes(bytes("{\(ts)"), many(",\"a\":1", 100_000), bytes("}")), .delivered(1)),
      ("10,000 names, each a new field", bytes(bytes("{\(ts)"), members(10_000), bytes("}")), .delivered(1)),
    ])

  private static func members(_ count: Int) -> [UInt8] {
    var all: [UInt8] = []
    for index in 0..<count { all += Array(",\"k\(index)\":0".utf8) }
    return all
  }

  private static let million = [
    HostileCase(
      name: "a million names", topic: bytes("k/million"),
      payload: bytes(bytes("{\"device\":\"million\""), members(1_000_000), bytes("}")), fate: .delivered(1))
  ]

  // MARK: Names of devices

  private static let keys: [HostileCase] = {
    let names = [
      "../../etc/passwd", "/etc/shadow", "a\\u0000b", "<script>alert(1)</script>", "${jndi:ldap://x}", "%n%s%x",
      "{{7*7}}", "'; DROP TABLE block;--", "=cmd|' /C calc'!A0", "\\u001b[2J\\u001b]0;x\\u0007", "\u{9B}31m",
      "\u{202E}exe.txt", "\u{200B}", "", String(repeating: "x", count: 256),
    ]
    let taken: [(String, String, HostileCase.Fate)] = names.map {
      ("the name \($0.prefix(30))", "\"\($0)\"", .delivered(1))
    }
    let others: [(String, String, HostileCase.Fate)] = [
      ("a name of 257 bytes", "\"\(String(repeating: "x", count: 257))\"", .rejected("key.length")),
      ("a name of 100,000 bytes", "\"\(String(repeating: "x", count: 100_000))\"", .rejected("key.length")),
      ("a name with half a surrogate pair", "\"\\ud800\"", .rejected("json.utf8")),
      ("a name of 1e400", "1e400", .delivered(1)),
      ("a name that is an object", "{}", .rejected("key.type")), ("a name that is null", "null", .rejected("key.type")),
    ]
    return (taken + others).enumerated().map { index, entry in
      HostileCase(
        name: entry.0, topic: bytes("k/\(index)"), payload: bytes("{\"device\":\(entry.1)}"), fate: entry.2)
    } + [HostileCase(name: "no name", topic: bytes("k/none"), payload: bytes("{}"), fate: .rejected("key.missing"))]
  }()

  // MARK: Topics

  private static let topics: [HostileCase] = {
    let cases: [(String, [UInt8], HostileCase.Fate)] = [
      ("quotes", bytes("h/\"x\"/a"), .delivered(1)), ("right to left", bytes("h/\u{202E}/a"), .delivered(1)),
      ("a byte order mark", bytes("h/\u{FEFF}/a"), .delivered(1)), ("an emoji", bytes("h/💩/a"), .delivered(1)),
      ("spaces", bytes("h/ / "), .delivered(1)), ("an empty device", bytes("h//x"), .delivered(1)),
      ("a path", bytes("h/../../etc/passwd"), .delivered(1)), ("format directives", bytes("h/%n%s%p/a"), .delivered(1)),
      ("a template", bytes("h/${jndi:ldap:x}/a"), .delivered(1)),
      ("markup", bytes("h/<img src=x onerror=alert(1)>/a"), .delivered(1)),
      ("a leading $", bytes("$h/x/a"), .unheard), ("too few levels for any filter", bytes("k"), .unheard),
      ("32 levels", bytes(bytes("h/deep"), many("/a", 30)), .delivered(1)),
      ("33 levels", bytes(bytes("h/deep"), many("/a", 31)), .rejected("topic.levels")),
      ("200 levels", bytes(bytes("h/deep"), many("/a", 198)), .rejected("topic.levels")),
      ("199 slashes", bytes(bytes("h"), many("/", 199)), .rejected("topic.levels")),
      ("512 bytes", bytes(bytes("h/long/"), many("x", 505)), .delivered(1)),
      ("513 bytes", bytes(bytes("h/long/"), many("x", 506)), .rejected("topic.length")),
      ("65,535 bytes", bytes(bytes("h/long/"), many("x", 65_528)), .rejected("topic.length")),
      ("a device of 256 bytes", bytes(bytes("h/"), many("x", 256), bytes("/a")), .delivered(1)),
      ("a device of 257 bytes", bytes(bytes("h/"), many("x", 257), bytes("/a")), .rejected("key.length")),
    ]
    return cases.map {
      HostileCase(name: "a topic: \($0.0)", topic: $0.1, payload: object(""), fate: $0.2)
    }
  }()

  // MARK: Properties that a broker passes on

  private static let properties: [HostileCase] = {
    func text(_ value: String) -> [UInt8] { RawDevice.text(value) }
    let user = bytes([0x26], text("k"), text("v"))
    func users(_ count: Int) -> [UInt8] { [[UInt8]](repeating: user, count: count).flatMap { $0 } }
    let long = String(repeating: "c", count: 65_535)
    let cases: [(String, [UInt8], HostileCase.Fate)] = [
      ("a format indicator of 2", [1, 2], .delivered(1)), ("an expiry of 0", [2, 0, 0, 0, 0], .delivered(1)),
      ("a topic alias", [0x23, 0, 1], .delivered(1)), ("a subscription identifier", [0x0B, 5], .delivered(1)),
      ("a response topic with a wildcard", bytes([8], text("a/#")), .delivered(1)),
      ("markup", bytes([0x26], text("<b>"), text("${x}")), .delivered(1)),
      ("64 user properties", users(64), .delivered(1)),
      ("65 user properties", users(65), .rejected("properties.count")),
      ("5,000 user properties", users(5_000), .rejected("properties.count")),
      (
        "200,000 empty user properties", [[UInt8]](repeating: [0x26, 0, 0, 0, 0], count: 200_000).flatMap { $0 },
        .rejected("properties.count")
      ),
      ("a content type of 65,535 bytes", bytes([3], text(long)), .rejected("properties.size")),
      ("a response topic of 65,535 bytes", bytes([8], text(long)), .rejected("properties.size")),
      ("correlation data of 65,535 bytes", bytes([9], text(long)), .rejected("properties.size")),
    ]
    return cases.enumerated().map { index, entry in
      HostileCase(
        name: "properties: \(entry.0)", topic: bytes("h/property\(index)/x"), payload: object(""), properties: entry.1,
        fate: entry.2)
    } + [
      HostileCase(
        name: "properties: a format indicator that lies", topic: bytes("h/lie/x"), payload: [0xFF, 0xFE],
        properties: [1, 1], fate: .rejected("json.syntax"))
    ]
  }()
}
