/// What an uplink's link costs, by the bytes that are sent.
package struct LinkPrice: Sendable, Hashable, CustomStringConvertible {
  /// Of a megabyte, 1,000,000 bytes, as operators sell them.
  package var perMegabyte: Double
  /// As the configuration writes it: `EUR`.
  package var currency: String

  /// `0.12 EUR/MB`, `90 EUR/GB`: an amount from 0, one to eight letters or signs, and per kB, MB, GB or TB.
  /// Nil for anything else.
  package init?(_ text: String) {
    let parts = text.split(separator: " ", omittingEmptySubsequences: true)
    let unit = parts.last?.split(separator: "/", omittingEmptySubsequences: false) ?? []
    guard parts.count == 2, unit.count == 2, let amount = Double(parts[0]), amount >= 0, amount.isFinite,
      parts[0].utf8.allSatisfy({ $0 &- 0x30 <= 9 || $0 == UInt8(ascii: ".") }), (1...8).contains(unit[0].count),
      let megabytes = ["kB": 0.001, "MB": 1, "GB": 1_000, "TB": 1_000_000][String(unit[1])]
    else { return nil }
    perMegabyte = amount / megabytes
    currency = String(unit[0])
  }

  /// Of so many bytes.
  package func cost(of bytes: Int64) -> Double { Double(bytes) / 1_000_000 * perMegabyte }

  package var description: String { "\(perMegabyte) \(currency)/MB" }
}
