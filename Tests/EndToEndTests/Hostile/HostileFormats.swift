/// The formats beside JSON, and windows.
extension HostileCases {
  private static func numbered(
    _ level: String, _ cases: [(String, [UInt8], HostileCase.Fate)]
  ) -> [HostileCase] {
    cases.enumerated().map { index, entry in
      HostileCase(
        name: "\(level): \(entry.0)", topic: bytes("\(level)/\(index)"), payload: entry.1, fate: entry.2)
    }
  }

  static let lines = numbered(
    "lines",
    [
      ("nothing", [], .delivered(0)), ("a comment", bytes("# c"), .delivered(0)),
      ("no field", bytes("m"), .rejected("line-protocol.syntax")), ("a NUL", [0], .rejected("line-protocol.syntax")),
      ("a time that is text", bytes("m f=1 x"), .rejected("line-protocol.syntax")),
      ("a time of 30 digits", bytes(bytes("m f=1 "), many("9", 30)), .rejected("line-protocol.time")),
      ("1e999999", bytes("m f=1e999999"), .rejected("line-protocol.value")),
      ("an integer of 20 digits", bytes("m f=99999999999999999999i"), .rejected("line-protocol.value")),
      ("NaN", bytes("m f=NaN"), .rejected("line-protocol.syntax")),
      ("a string without end", bytes("m f=\"abc"), .rejected("line-protocol.syntax")),
      ("a tag twice", bytes("m,a=1,a=2 f=1"), .rejected("line-protocol.tag")),
      ("bytes that are no UTF-8", bytes(bytes("m,host=h f="), [0xFF]), .rejected("text.charset")),
      ("a host of 300 bytes", bytes(bytes("m,host="), many("h", 300), bytes(" f=1")), .rejected("key.length")),
      ("a time before 1970", bytes("m,host=h f=1 -5"), .delivered(1)),
      ("a measurement of 100,000 bytes", bytes(many("x", 100_000), bytes(",host=h f=1")), .delivered(1)),
    ])

  static let rows = numbered(
    "rows",
    [
      ("nothing", [], .rejected("csv.header")), ("line feeds", many("\n", 1_000), .rejected("csv.header")),
      ("a quote without end", bytes("a,b\n\"x"), .rejected("csv.syntax")),
      ("too many cells", bytes("a,b\n1,2,3"), .rejected("csv.columns")),
      ("a column twice", bytes("a,a\n1,2"), .rejected("csv.header")), ("a header alone", bytes("a,b\n"), .delivered(0)),
      ("formulas", bytes("a,b\n=cmd|x,@SUM(1)"), .delivered(1)), ("a NUL", bytes("a,b\n\0,1"), .delivered(1)),
      ("20,000 rows", bytes(bytes("a\n"), many("1\n", 20_000)), .delivered(20_000)),
    ])

  static let binary = numbered(
    "binary",
    [
      ("nothing", [], .rejected("cbor.syntax")), ("a map that is cut off", [0xA1], .rejected("cbor.syntax")),
      ("100,000 arrays", bytes([UInt8](repeating: 0x81, count: 100_000), [0]), .rejected("cbor.not-map")),
      (
        "100,000 arrays in a map", bytes([0xA1, 0x61, 0x61], [UInt8](repeating: 0x81, count: 100_000), [0]),
        .rejected("cbor.depth")
      ),
      (
        "a text of 2^63 bytes", [0xA1, 0x61, 0x61, 0x7B, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        .rejected("cbor.syntax")
      ),
      ("an array of 2^32 elements", [0x9A, 0xFF, 0xFF, 0xFF, 0xFF], .rejected("cbor.syntax")),
      (
        "a number of 64 KiB",
        bytes([0xA1, 0x61, 0x61, 0xC2, 0x5A, 0, 1, 0, 0], [UInt8](repeating: 0xFF, count: 65_536)),
        .rejected("cbor.number")
      ),
      ("an array as a name", [0xA1, 0x80, 0], .rejected("cbor.key")), ("a number", [1], .rejected("cbor.not-map")),
      ("a text that is no UTF-8", [0xA1, 0x61, 0x61, 0x62, 0xFF, 0xFE], .rejected("cbor.syntax")),
      (
        "an array without end", bytes([0xA1, 0x61, 0x61, 0x9F], [UInt8](repeating: 0, count: 100_000)),
        .rejected("cbor.syntax")
      ),
      ("NaN", [0xA1, 0x61, 0x61, 0xF9, 0x7E, 0], .delivered(1)),
      ("100,000 tags", bytes([0xA1, 0x61, 0x61], [UInt8](repeating: 0xC0, count: 100_000), [0]), .delivered(1)),
    ])

  static let packs = numbered(
    "packs",
    [
      ("an object", bytes("{}"), .rejected("senml.record")),
      ("a later version", bytes("[{\"bver\":99,\"n\":\"a\",\"v\":1}]"), .rejected("senml.version")),
      ("a field to be understood", bytes("[{\"n\":\"a\",\"v\":1,\"x_\":1}]"), .rejected("senml.field")),
      ("a time of 1e300", bytes("[{\"n\":\"a\",\"v\":1,\"t\":1e300}]"), .rejected("time.range")),
      (
        "a name of 300 bytes", bytes(bytes("[{\"n\":\""), many("a", 300), bytes("\",\"v\":1,\"t\":1700000000}]")),
        .rejected("key.length")
      ),
      (
        "a base name that would be written 2,000 times",
        bytes(bytes("[{\"bn\":\""), many("a", 60_000), bytes("\",\"v\":1}"), many(",{\"v\":1}", 2_000), bytes("]")),
        .rejected("decode.size")
      ),
      ("nothing", bytes("[]"), .delivered(0)),
    ])

  static let values = numbered(
    "values",
    [
      ("nothing", [], .rejected("scalar.empty")), ("a byte that is no UTF-8", [0xFF], .rejected("text.charset")),
      ("one byte more than limits.payload", many("x", 65_537), .rejected("payload.size")),
      ("as much as limits.payload", many("x", 65_536), .delivered(1)), ("NaN", bytes("NaN"), .delivered(1)),
      ("1e999999", bytes("1e999999"), .delivered(1)), ("markup", bytes("<b>"), .delivered(1)),
    ])

  static let windows = [
    HostileCase(
      name: "a window: the year 9999", topic: bytes("w/device/x"), payload: bytes("{\"ts\":253402300799000,\"v\":1}"),
      fate: .rejected("time.range"))
  ]
}

/// A pipeline for each format, and one with every stage that remembers devices.
enum HostilePipelines {
  /// What stands behind the pipeline of ``House``; its keys are indented by four.
  static let yaml: String = {
    let end = "\n    batch: { max_age: 200 ms }\n    to: central"
    return """
      devices: 10000
        remembering:
          from: ["h/{device}/#"]
          key: device
          time: { field: ts, unit: ms }
          sequence: seq
          drift: true
          dedupe: { by: [seq], within: 1 h }
          where: 'v IS NULL OR v >= 0'\(end)
        named:
          from: ["k/+"]
          key: device\(end)
        lines:
          from: ["lines/+"]
          decode: line-protocol
          key: tags.host\(end)
        rows:
          from: ["rows/+"]
          decode: csv\(end)
        binary:
          from: ["binary/+"]
          decode: cbor\(end)
        packs:
          from: ["packs/+"]
          decode: senml
          key: n
          time: { field: t, unit: s }\(end)
        values:
          from: ["values/+"]
          decode: scalar
          limits: { payload: 64 KiB }\(end)
        averages:
          from: ["w/{device}/{series}"]
          key: device
          time: { field: ts, unit: ms }
          window: { every: 1 s, emit: { mean: avg(v) } }\(end)
      """
  }()
}
