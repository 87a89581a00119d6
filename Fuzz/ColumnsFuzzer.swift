import Compression

private let bound = 1 << 16
private let lineFeed = UInt8(ascii: "\n")

private func require(encodes lines: [UInt8]) {
  guard let text = Columns.encode(lines) else { return }
  require(text.count <= Columns.maximumLength(ofLines: lines.count), "a text beyond its bound")
  require(text.last == lineFeed && text.dropLast().allSatisfy { $0 >= 0x20 }, "a text of more than a line")
  require((try? Columns.decode(text, maximumOutput: lines.count))?.lines == lines, "the lines are others")
  if lines.count > 0 {
    require((try? Columns.decode(text, maximumOutput: lines.count - 1)) == nil, "the bound is not kept")
  }
}

/// Any bytes as a text of columns: an error, or as many lines as it says within the bound, which can be written again;
/// and any bytes as lines: not written, or given back.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzColumns(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeRawBufferPointer(start: start, count: count))
  require(encodes: bytes)
  require(encodes: bytes + [lineFeed])
  if let decoded = try? Columns.decode(bytes, maximumOutput: bound) {
    require(decoded.lines.count <= bound, "the lines went beyond the bound")
    require(decoded.lines.count { $0 == lineFeed } == decoded.count, "there are other lines than it says")
    require(Columns.encode(decoded.lines) != nil, "the lines cannot be written again")
    require(encodes: decoded.lines)
  }
  return 0
}
