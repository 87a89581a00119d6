internal import Telemetry

/// JSON that stages write: members one after another into a buffer, without whitespace.
extension [UInt8] {
  /// The value as a JSON number: the shortest text that reads back as the same; null where there is none, for
  /// JSON has neither infinities nor NaN.
  mutating func appendJSON(_ value: Double) {
    if value.isFinite {
      append(contentsOf: value.description.utf8)
    } else {
      append(contentsOf: "null".utf8)
    }
  }

  mutating func appendJSON(_ value: Int64) { append(contentsOf: value.description.utf8) }

  /// A valid JSON text without the whitespace outside of its strings.
  /// - Parameter isCompact: whether it is known to have none.
  mutating func appendCompact(_ text: UnsafeRawBufferPointer, isCompact: Bool) {
    if isCompact { return append(contentsOf: text) }
    let start = count
    append(contentsOf: repeatElement(0, count: text.count))
    let written = withUnsafeMutableBytes { bytes in
      bytes.baseAddress.map { JSONText.compact(text, into: $0 + start) } ?? 0
    }
    removeLast(text.count - written)
  }
}

extension JSONTape {
  /// Appends members of an object, a comma between every two.
  /// - Parameters:
  ///   - index: the object's.
  ///   - names: of members to leave out, without escapes; every occurrence is.
  ///   - isFirst: whether the first needs no comma before it.
  func appendMembers(
    of index: Int, in bytes: UnsafeRawBufferPointer, except names: [[UInt8]], isFirst: Bool,
    to output: inout [UInt8]
  ) {
    var isFirst = isFirst
    let object = values[index]
    /// Members that stand next to one another and stay are copied at once.
    var run: Range<Int>?
    func flush() {
      guard let kept = run else { return }
      if !isFirst { output.append(UInt8(ascii: ",")) }
      isFirst = false
      output.appendCompact(UnsafeRawBufferPointer(rebasing: bytes[kept]), isCompact: !hasWhitespace)
      run = nil
    }
    if names.isEmpty {
      if object.count > 0 { run = object.range.dropFirst().dropLast() }
    } else {
      var child = index + 1
      while child < object.next {
        let value = values[child]
        if names.contains(where: { isName(of: value, $0, in: bytes) }) {
          flush()
        } else {
          run = (run?.lowerBound ?? value.name.lowerBound - 1)..<value.range.upperBound
        }
        child = value.next
      }
    }
    flush()
  }

  /// A member's name as it stands, with quotes and colon.
  func appendName(of value: Value, in bytes: UnsafeRawBufferPointer, to output: inout [UInt8]) {
    output.append(UInt8(ascii: "\""))
    output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[value.name]))
    output.append(UInt8(ascii: "\""))
    output.append(UInt8(ascii: ":"))
  }

  /// Whether a member has this name, which is without escapes.
  func isName(of value: Value, _ name: [UInt8], in bytes: UnsafeRawBufferPointer) -> Bool {
    let raw = UnsafeRawBufferPointer(rebasing: bytes[value.name])
    if value.nameHasEscapes { return JSONText.unescape(raw) == name }
    return raw.count == name.count && name.withUnsafeBytes { haveSameBytes($0, raw) }
  }
}
