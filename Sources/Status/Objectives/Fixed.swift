/// Decimal numbers for people, without a locale.
package enum Fixed {
  /// `value` with so many places, at most 6; `-` for what is no number.
  package static func decimal(_ value: Double, places: Int) -> String {
    guard value.isFinite, value.magnitude < 1e12 else { return "-" }
    let places = max(0, min(6, places))
    var unit: Int64 = 1
    for _ in 0..<places { unit *= 10 }
    let scaled = Int64((value.magnitude * Double(unit)).rounded())
    let sign = value < 0 && scaled != 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(scaled)" }
    let fraction = String(scaled % unit)
    return "\(sign)\(scaled / unit)." + String(repeating: "0", count: places - fraction.count) + fraction
  }

  /// `99.9 %`, with as many of three places as are needed.
  package static func percent(_ ratio: Double) -> String {
    var text = decimal(ratio * 100, places: 3)
    while text.hasSuffix("0") { text.removeLast() }
    if text.hasSuffix(".") { text.removeLast() }
    return text + " %"
  }
}
