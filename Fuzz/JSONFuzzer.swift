import Foundation
import Pipeline

private func read(_ bytes: UnsafeRawBufferPointer) -> (tape: JSONTape, error: JSONError?) {
  var tape = JSONTape()
  do throws(JSONError) {
    try tape.read(bytes)
    return (tape, nil)
  } catch { return (tape, error) }
}

/// What Foundation makes of the text; nil where it refuses it.
private func foundation(_ bytes: UnsafeRawBufferPointer) -> (value: Any?, reason: String) {
  do {
    return (try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed), "")
  } catch {
    return (nil, String(describing: error))
  }
}

/// Foundation takes `[1,]`, which is not JSON.
private func isTrailingComma(_ bytes: UnsafeRawBufferPointer, _ error: JSONError) -> Bool {
  guard error.position < bytes.count, [0x5D, 0x7D].contains(bytes[error.position]) else { return false }
  return bytes[..<error.position].last { $0 > 0x20 } == UInt8(ascii: ",")
}

/// The tape against Foundation's, and compaction against both.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzJSON(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  // A copy of exactly this length, so that the address sanitizer sees one byte too many.
  let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
  defer { copy.deallocate() }
  copy.copyMemory(from: UnsafeRawBufferPointer(start: start, count: count))
  let bytes = UnsafeRawBufferPointer(copy)

  let (tape, error) = read(bytes)
  if let error { require(error.position <= count, "an error beyond the text: \(error)") }
  for (index, value) in tape.values.enumerated() where error == nil {
    require(value.range.upperBound <= count && !value.range.isEmpty, "a value outside of the text")
    require(value.name.upperBound <= value.range.lowerBound, "a name behind its value")
    require(value.next > index && value.next <= tape.values.count, "a value that goes backwards")
  }

  // Foundation takes UTF-16 and UTF-32 as well and tells them by their first bytes.
  let isUTF8 = !bytes.prefix(4).contains(0) && error?.kind != .byteOrderMark && bytes.first.map { $0 < 0xFE } ?? true
  var value: Any?
  if isUTF8 {
    let (theirs, reason) = foundation(bytes)
    value = theirs
    if let error, theirs != nil {
      // It nests more deeply than we do.
      require(error.kind == .tooDeep || isTrailingComma(bytes, error), "Foundation accepts what we refuse: \(error)")
    }
    if error == nil, theirs == nil {
      // It converts numbers, and refuses those that it cannot hold.
      require(reason.contains("Number"), "Foundation refuses what we accept: \(reason)")
    }
  }
  guard error == nil else { return 0 }

  if let object = value as? [String: Any] {
    for name in ["a", "ts", ""] {
      require((object[name] != nil) == (tape.member(Array(name.utf8), of: 0, in: bytes) != nil), "member \(name)")
    }
  }

  let small = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
  defer { small.deallocate() }
  guard let base = small.baseAddress else { return 0 }
  let length = JSONText.compact(bytes, into: base)
  let compacted = UnsafeRawBufferPointer(rebasing: small[..<length])
  let again = read(compacted)
  require(again.error == nil, "compaction broke the text")
  require(!again.tape.hasWhitespace, "compaction left whitespace")
  require(tape.hasWhitespace == (length != count), "whitespace was seen wrongly")
  if length == count { require(compacted.elementsEqual(bytes), "compaction changed a compact text") }
  let twice = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 1)
  defer { twice.deallocate() }
  if let target = twice.baseAddress {
    require(JSONText.compact(compacted, into: target) == length, "compaction is not idempotent")
    require(twice.elementsEqual(compacted), "compaction is not idempotent")
  }
  if let value = value as? NSObject {
    require(foundation(compacted).value as? NSObject == value, "compaction changed the meaning")
  }
  return 0
}
