/// a + b, at most and at least what an `Int64` holds. Times come from devices and may be anything.
func saturating(_ a: Int64, plus b: Int64) -> Int64 {
  let (sum, overflow) = a.addingReportingOverflow(b)
  return overflow ? (b < 0 ? .min : .max) : sum
}

/// a - b, at most and at least what an `Int64` holds.
func saturating(_ a: Int64, minus b: Int64) -> Int64 {
  let (difference, overflow) = a.subtractingReportingOverflow(b)
  return overflow ? (b > 0 ? .min : .max) : difference
}

/// a / b rounded down, also below zero.
/// - Parameter b: above 0.
func floorDivided(_ a: Int64, by b: Int64) -> Int64 {
  let (quotient, rest) = a.quotientAndRemainder(dividingBy: b)
  return rest < 0 ? quotient - 1 : quotient
}
