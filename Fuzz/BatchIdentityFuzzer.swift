import Telemetry

/// Any text as the name of a batch: refused, or written again just as it was.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzBatchIdentity(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = UnsafeRawBufferPointer(start: start, count: count)
  let text = String(decoding: bytes, as: UTF8.self)
  if let digest = Digest(hex: text) {
    require(digest.hex == text.lowercased(), "a digest reads back")
  }
  guard let identity = BatchIdentity(text) else { return 0 }
  require(identity.description.utf8.elementsEqual(bytes), "\(text) became \(identity)")
  require(identity.sequence >= 1, "sequences begin with 1")
  require(identity.whole.part == nil, "the whole has no part")
  require(BatchIdentity(identity.whole.description) == identity.whole, "the whole reads back")
  if let part = identity.part {
    for readings in [0, 1, 2, 1_000, 1_000_000, 1 << 53] {
      let lines = part.lines(of: readings)
      require(lines.lowerBound >= 0 && lines.upperBound <= readings, "\(part) of \(readings): \(lines)")
      if let next = Part(index: part.index + 1, total: part.total) {
        require(next.lines(of: readings).lowerBound == lines.upperBound, "parts meet")
      } else {
        require(lines.upperBound == readings, "the last part ends the batch")
      }
    }
  }
  return 0
}
