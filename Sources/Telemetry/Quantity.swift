/// Byte sizes and durations as people write them: a number and a unit.
///
/// Everything is exact: `0.5 GiB` is 536870912 bytes, and `0.1 B` is refused instead of rounded.
package enum Quantity {
  private struct Unit: Sendable {
    var name: String
    /// Bytes or nanoseconds.
    var factor: Int64
  }

  /// Why a text is no quantity.
  package enum Fault: Error, Sendable, Hashable {
    /// Not a number with a unit behind it.
    case malformed
    /// A number alone, where the unit makes all the difference.
    case unitMissing
    /// The name that is no unit, and the unit that was probably meant.
    case unknownUnit(String, meant: String?)
    /// Not a whole number of bytes or nanoseconds.
    case fraction
    /// Above 2^63 - 1.
    case tooLarge
    case negative
  }

  /// Binary units count by 1024, decimal ones by 1000 (IEC 80000-13).
  private static let byteUnits: [Unit] = [
    Unit(name: "B", factor: 1),
    Unit(name: "KiB", factor: 1 << 10), Unit(name: "MiB", factor: 1 << 20),
    Unit(name: "GiB", factor: 1 << 30), Unit(name: "TiB", factor: 1 << 40),
    Unit(name: "kB", factor: 1000), Unit(name: "MB", factor: 1_000_000),
    Unit(name: "GB", factor: 1_000_000_000), Unit(name: "TB", factor: 1_000_000_000_000),
  ]

  private static let timeUnits: [Unit] = [
    Unit(name: "ns", factor: 1), Unit(name: "us", factor: 1000), Unit(name: "µs", factor: 1000),
    Unit(name: "ms", factor: 1_000_000), Unit(name: "s", factor: second),
    Unit(name: "min", factor: 60 * second), Unit(name: "m", factor: 60 * second),
    Unit(name: "h", factor: 3600 * second),
    Unit(name: "d", factor: 86_400 * second),
  ]

  /// Names that other programs use, by which a hint can be given. They are not units here: `M` is
  /// mebibytes to some, megabytes to others.
  private static let otherSpellings: [String: [String]] = [
    "k": ["kib"], "m": ["mib"], "g": ["gib"], "t": ["tib"], "byte": ["b"], "bytes": ["b"],
    "msec": ["ms"], "usec": ["us"], "sec": ["s"], "secs": ["s"], "second": ["s"], "seconds": ["s"],
    "mins": ["min"], "minute": ["min"], "minutes": ["min"], "hr": ["h"], "hour": ["h"],
    "hours": ["h"], "day": ["d"], "days": ["d"],
  ]

  private static let second: Int64 = 1_000_000_000

  /// `8 GiB`, `10 MB`, `1.5 KiB`, `4096`.
  package static func bytes(_ text: String) throws(Fault) -> Int64 {
    let terms = try terms(of: text)
    guard let term = terms.first, terms.count == 1 else { throw .malformed }
    if term.unit.isEmpty { return try value(term, factor: 1) }
    return try value(term, factor: try factor(of: term.unit, among: byteUnits))
  }

  /// Nanoseconds of `250 ms`, `24 h`, `1h30min`, `0`.
  package static func duration(_ text: String) throws(Fault) -> Int64 {
    let terms = try terms(of: text)
    var sum: Int64 = 0
    var before = Int64.max
    for term in terms {
      if term.unit.isEmpty {
        guard terms.count == 1, try value(term, factor: 1) == 0 else { throw .unitMissing }
        return 0
      }
      let factor = try factor(of: term.unit, among: timeUnits)
      // `30min1h` is more likely a slip than meant.
      guard factor < before else { throw .malformed }
      before = factor
      let (total, overflow) = sum.addingReportingOverflow(try value(term, factor: factor))
      guard !overflow else { throw .tooLarge }
      sum = total
    }
    return sum
  }

  /// The shortest writing with one unit: `250 ms`, `90 min`.
  package static func describe(duration: Int64) -> String {
    describe(duration, timeUnits.filter { !["µs", "m"].contains($0.name) }, smallest: "ns")
  }

  /// `256 KiB`, `1500 B`.
  package static func describe(bytes: Int64) -> String {
    describe(bytes, byteUnits.filter { $0.name == "B" || $0.name.hasSuffix("iB") }, smallest: "B")
  }

  /// `9.7 GiB`: for what is measured, where the last byte says nothing.
  package static func describe(roughly bytes: Int64) -> String {
    guard let unit = byteUnits.last(where: { $0.name.hasSuffix("iB") && bytes >= $0.factor }) else {
      return "\(bytes) B"
    }
    return "\(bytes / unit.factor).\(bytes % unit.factor * 10 / unit.factor) \(unit.name)"
  }

  private static func describe(_ value: Int64, _ units: [Unit], smallest: String) -> String {
    let unit = units.last { value != 0 && value % $0.factor == 0 }
    return unit.map { "\(value / $0.factor) \($0.name)" } ?? "\(value) \(smallest)"
  }

  private struct Term {
    var whole: String = ""
    /// The digits behind the point.
    var fraction: String = ""
    var unit: String = ""
  }

  private static func terms(of text: String) throws(Fault) -> [Term] {
    var terms: [Term] = []
    var rest = text[...]
    func digits() -> String {
      let run = rest.prefix { $0.isASCII && $0.isNumber }
      rest = rest.dropFirst(run.count)
      return String(run)
    }
    guard rest.utf8.count <= 64 else { throw .malformed }
    if rest.first == "-" { throw .negative }
    while !rest.isEmpty {
      var term = Term(whole: digits())
      guard !term.whole.isEmpty else { throw .malformed }
      if rest.first == "." {
        rest = rest.dropFirst()
        term.fraction = digits()
        guard !term.fraction.isEmpty else { throw .malformed }
      }
      rest = rest.drop { $0 == " " }
      let unit = rest.prefix { !($0.isASCII && $0.isNumber) && $0 != " " }
      term.unit = String(unit)
      rest = rest.dropFirst(unit.count).drop { $0 == " " }
      terms.append(term)
    }
    guard !terms.isEmpty else { throw .malformed }
    return terms
  }

  private static func factor(of unit: String, among units: [Unit]) throws(Fault) -> Int64 {
    if let known = units.first(where: { $0.name == unit }) { return known.factor }
    let spelled = unit.lowercased()
    let names = [spelled] + (otherSpellings[spelled] ?? [])
    let meant = units.first { names.contains($0.name.lowercased()) }
    throw .unknownUnit(unit, meant: meant?.name)
  }

  private static func value(_ term: Term, factor: Int64) throws(Fault) -> Int64 {
    guard let whole = Int64(term.whole) else { throw .tooLarge }
    let (high, overflow) = whole.multipliedReportingOverflow(by: factor)
    guard !overflow else { throw .tooLarge }
    var fraction = term.fraction[...]
    while fraction.last == "0" { fraction = fraction.dropLast() }
    guard !fraction.isEmpty else { return high }
    guard fraction.count <= 9, let digits = Int64(fraction) else { throw .fraction }
    let scale = (0..<fraction.count).reduce(Int64(1)) { power, _ in power * 10 }
    let (product, tooLarge) = digits.multipliedReportingOverflow(by: factor)
    guard !tooLarge, product % scale == 0 else { throw .fraction }
    let (sum, overflows) = high.addingReportingOverflow(product / scale)
    guard !overflows else { throw .tooLarge }
    return sum
  }
}
