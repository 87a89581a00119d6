/// Whether two pieces of memory hold the same bytes. Word by word: the library's `elementsEqual` takes some fifteen
/// instructions a byte, and names and topics are compared several times for every message.
@inlinable
package func haveSameBytes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
  guard a.count == b.count else { return false }
  guard let left = a.baseAddress, let right = b.baseAddress else { return true }
  // Texts that were taken over from one block to the next are often the very same.
  if left == right { return true }
  let count = a.count
  guard count >= 8 else {
    var index = 0
    while index < count {
      if (left + index).load(as: UInt8.self) != (right + index).load(as: UInt8.self) { return false }
      index &+= 1
    }
    return true
  }
  // The last word is that of the last eight bytes, some of which may have been met.
  let last = count &- 8
  var index = 0
  while index < last {
    if (left + index).loadUnaligned(as: UInt64.self) != (right + index).loadUnaligned(as: UInt64.self) { return false }
    index &+= 8
  }
  return (left + last).loadUnaligned(as: UInt64.self) == (right + last).loadUnaligned(as: UInt64.self)
}

extension String {
  /// Whether both are the same UTF-8, byte for byte; `==` compares characters.
  package func hasSameBytes(as other: String) -> Bool {
    guard utf8.count == other.utf8.count else { return false }
    let same = utf8.withContiguousStorageIfAvailable { bytes in
      other.utf8.withContiguousStorageIfAvailable {
        haveSameBytes(UnsafeRawBufferPointer(bytes), UnsafeRawBufferPointer($0))
      }
    }
    return (same ?? nil) ?? utf8.elementsEqual(other.utf8)
  }

  /// Hashes the UTF-8 by words; as a `String` does it, byte by byte and for its characters, it costs several times as
  /// much.
  package func hashBytes(into hasher: inout Hasher) {
    let isDone: Bool? = utf8.withContiguousStorageIfAvailable { buffer in
      let bytes = UnsafeRawBufferPointer(buffer)
      var index = 0
      while index + 8 <= bytes.count {
        hasher.combine(bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
        index += 8
      }
      var rest = UInt64(bytes.count)
      while index < bytes.count {
        rest = rest << 8 | UInt64(bytes[index])
        index += 1
      }
      hasher.combine(rest)
      return true
    }
    if isDone == nil { for byte in utf8 { hasher.combine(byte) } }
  }
}

/// Whether two secrets, or two digests of secrets, are the same: looks at every byte, whatever the first ones say, so
/// that the time it takes tells nobody how much of a guess was right.
package func areSameSecrets(_ left: [UInt8], _ right: [UInt8]) -> Bool {
  guard left.count == right.count else { return false }
  var difference: UInt8 = 0
  for (one, other) in zip(left, right) { difference |= one ^ other }
  return difference == 0
}
