import Pipeline

private func csv(_ columns: [String]?, _ delimiter: UInt8, decimalComma: Bool, _ set: CharacterSet) -> CSVTranscoder {
  var settings = CSVTranscoder.Settings()
  (settings.columns, settings.delimiter) = (columns, delimiter)
  (settings.decimalComma, settings.characterSet) = (decimalComma, set)
  return CSVTranscoder(settings: settings)
}

private func lineProtocol(
  _ precision: LineProtocolTranscoder.Precision, _ set: CharacterSet
) -> LineProtocolTranscoder {
  var settings = LineProtocolTranscoder.Settings()
  (settings.precision, settings.characterSet) = (precision, set)
  return LineProtocolTranscoder(settings: settings)
}

private func scalar(decimalComma: Bool, _ set: CharacterSet) -> ScalarTranscoder {
  var settings = ScalarTranscoder.Settings()
  (settings.decimalComma, settings.characterSet) = (decimalComma, set)
  return ScalarTranscoder(settings: settings)
}

private let transcoders: [any Transcoder] = [
  CBORTranscoder(), SenMLTranscoder(), lineProtocol(.nanoseconds, .utf8),
  csv(nil, UInt8(ascii: ","), decimalComma: false, .utf8), scalar(decimalComma: false, .utf8), RawTranscoder(),
  lineProtocol(.seconds, .utf16), csv(["a", "b"], UInt8(ascii: ";"), decimalComma: true, .windows1252),
  scalar(decimalComma: true, .utf16LittleEndian), csv(nil, UInt8(ascii: "\t"), decimalComma: true, .utf16BigEndian),
  scalar(decimalComma: false, .latin1),
]

/// The first byte selects the format (a letter from A), what follows is the payload: what is accepted
/// becomes an array of objects, valid JSON without whitespace, behind what was in the buffer before.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTranscoding(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 0 else { return 0 }
  // A copy of exactly this length, so that the address sanitizer sees one byte too many.
  let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: count - 1, alignment: 1)
  defer { copy.deallocate() }
  copy.copyMemory(from: UnsafeRawBufferPointer(start: start + 1, count: count - 1))
  let payload = UnsafeRawBufferPointer(copy)

  var transcoder = transcoders[Int(start[0] &- UInt8(ascii: "A")) % transcoders.count]
  let before = Array("before".utf8)
  var output = before
  do throws(Refusal) {
    try transcoder.transcode(payload, received: 1_795_231_080_000_000_000, into: &output)
  } catch {
    require(!error.reason.isEmpty, "a refusal without a reason")
    return 0
  }
  require(output.starts(with: before), "what was there before is gone")
  var again = before
  // A transcoder keeps nothing from one payload to the next.
  do throws(Refusal) {
    try transcoder.transcode(payload, received: 1_795_231_080_000_000_000, into: &again)
  } catch { require(false, "accepted once and refused then: \(error.reason)") }
  require(output == again, "the same payload becomes something else the second time")

  output.dropFirst(before.count).withUnsafeBytes { text in
    var tape = JSONTape()
    do throws(JSONError) { try tape.read(text) } catch { require(false, "not JSON: \(error)") }
    require(tape.root.kind == .array, "no array")
    require(!tape.hasWhitespace, "whitespace outside of strings")
    var child = 1
    while child < tape.root.next {
      require(tape.values[child].kind == .object, "an element that is no object")
      child = tape.values[child].next
    }
  }
  return 0
}
