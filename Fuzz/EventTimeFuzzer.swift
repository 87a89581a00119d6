import Pipeline

/// The same as ``EventTime`` by moving the decimal point in the text: slow, and plainly right.
private func reference(_ number: String, power: Int) -> Int64? {
  var text = Substring(number)
  let isNegative = text.first == "-"
  if isNegative { text.removeFirst() }
  let parts = text.split(whereSeparator: { $0 == "e" || $0 == "E" })
  let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
  guard let exponent = parts.count > 1 ? Int(parts[1]) : 0 else { return nil }
  var digits = Array(mantissa.joined())
  var point = mantissa[0].count + exponent + power
  if digits.allSatisfy({ $0 == "0" }) { return 0 }
  if isNegative { return nil }
  if point <= 0 { return 0 }
  while digits.count < point { digits.append("0") }
  while point > 0, digits.first == "0" {
    digits.removeFirst()
    point -= 1
  }
  return point == 0 ? 0 : Int64(String(digits[..<point]))
}

/// Numbers against the reference, RFC 3339 texts against their own writing, and every 64-bit number of
/// nanoseconds written and read back.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzEventTime(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = UnsafeRawBufferPointer(start: start, count: count)
  if let time = try? RFC3339.nanoseconds(bytes) {
    let text = RFC3339.text(time)
    let back = Array(text.utf8).withUnsafeBytes { try? RFC3339.nanoseconds($0) }
    require(back == time, "\(text) reads back as \(String(describing: back))")
    require(text.utf8.count <= RFC3339.maximumLength, "\(text) is too long")
  }
  if count == 8 {
    let time = Int64(truncatingIfNeeded: bytes.loadUnaligned(as: UInt64.self) >> 1)
    let back = Array(RFC3339.text(time).utf8).withUnsafeBytes { try? RFC3339.nanoseconds($0) }
    require(back == time, "\(time) is written \(RFC3339.text(time))")
  }

  var tape = JSONTape()
  guard (try? tape.read(bytes)) != nil, tape.root.kind == .number else { return 0 }
  let number = UnsafeRawBufferPointer(rebasing: bytes[tape.root.range])
  let text = String(decoding: number, as: UTF8.self)
  let exponent = text.split(whereSeparator: { $0 == "e" || $0 == "E" }).dropFirst().first
  for (unit, power) in [
    (PipelineSettings.TimeUnit.seconds, 9), (.milliseconds, 6), (.microseconds, 3), (.nanoseconds, 0),
  ] {
    let time = EventTime.nanoseconds(number: number, unit: unit)
    if let time { require(time >= 0, "\(text) \(unit) is before 1970") }
    // The reference writes every digit out.
    guard exponent.map({ $0.utf8.count <= 4 }) ?? true else { continue }
    let expected = reference(text, power: power)
    require(time == expected, "\(text) \(unit): \(String(describing: time)), not \(String(describing: expected))")
  }
  return 0
}
