/// A value within a text: a tape, a place on it and the bytes that were read.
struct JSONPlace {
  let values: UnsafeBufferPointer<JSONTape.Value>
  let bytes: UnsafeRawBufferPointer

  @inline(__always)
  func raw(_ range: Range<Int>) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: bytes[range])
  }
}

/// When two JSON values are the same (JSON Schema core, section 4.2.2): numbers by their value, strings by what
/// they stand for, objects whatever the order of their members. Of a name that stands in an object several
/// times, every member counts: such an object equals only one that has them all, in their order.
enum JSONEquality {
  // MARK: Hashes

  /// The same for equal values. Not secret: whoever writes payloads can make different values collide, so
  /// that whoever uses it bounds the comparisons.
  static func hash(_ index: Int, _ place: JSONPlace) -> UInt64 {
    let value = place.values[index]
    switch value.kind {
    case .null: return 0x6E75_6C6C
    case .boolean: return place.bytes[value.range.lowerBound] == UInt8(ascii: "t") ? 0x7472_7565 : 0x6661_6C73
    case .number: return DecimalText(place.raw(value.range)).hash ^ 0x6E75_6D62
    case .string: return hash(value.content, value.hasEscapes, place) ^ 0x7374_7269
    case .array:
      var sum: UInt64 = 0x6172_7261
      var child = index + 1
      while child < value.next {
        sum = mix(sum &* 31 ^ hash(child, place))
        child = place.values[child].next
      }
      return sum
    case .object:
      var sum: UInt64 = 0x6F62_6A65
      var child = index + 1
      while child < value.next {
        let member = place.values[child]
        sum &+= mix(hash(member.name, member.nameHasEscapes, place) &* 31 ^ hash(child, place))
        child = member.next
      }
      return sum
    }
  }

  static func hash(_ range: Range<Int>, _ hasEscapes: Bool, _ place: JSONPlace) -> UInt64 {
    if hasEscapes { return JSONText.unescape(place.raw(range)).withUnsafeBytes { hash($0) } }
    return hash(place.raw(range))
  }

  private static func hash(_ text: UnsafeRawBufferPointer) -> UInt64 {
    var hash: UInt64 = UInt64(text.count)
    var index = 0
    while text.count - index >= 8 {
      hash = mix(hash ^ text.loadUnaligned(fromByteOffset: index, as: UInt64.self))
      index += 8
    }
    var tail: UInt64 = 0
    while index < text.count {
      tail = tail << 8 | UInt64(text[index])
      index += 1
    }
    return mix(hash ^ tail)
  }

  private static func mix(_ value: UInt64) -> UInt64 {
    var value = value &* 0x9E37_79B9_7F4A_7C15
    value ^= value >> 32
    value = value &* 0xFF51_AFD7_ED55_8CCD
    return value ^ value >> 29
  }

  // MARK: Comparing

  static func equal(_ left: Int, _ leftPlace: JSONPlace, _ right: Int, _ rightPlace: JSONPlace) -> Bool {
    let one = leftPlace.values[left]
    let other = rightPlace.values[right]
    guard one.kind == other.kind else { return false }
    switch one.kind {
    case .null: return true
    case .boolean: return one.range.count == other.range.count
    case .number: return DecimalText(leftPlace.raw(one.range)) == DecimalText(rightPlace.raw(other.range))
    case .string:
      return equal(one.content, one.hasEscapes, leftPlace, other.content, other.hasEscapes, rightPlace)
    case .array:
      guard one.count == other.count else { return false }
      var child = left + 1
      var otherChild = right + 1
      while child < one.next {
        guard equal(child, leftPlace, otherChild, rightPlace) else { return false }
        child = leftPlace.values[child].next
        otherChild = rightPlace.values[otherChild].next
      }
      return true
    case .object:
      guard one.count == other.count else { return false }
      if one.count == 0 { return true }
      return zip(sortedMembers(left, leftPlace), sortedMembers(right, rightPlace)).allSatisfy {
        $0.name.elementsEqual($1.name) && equal($0.index, leftPlace, $1.index, rightPlace)
      }
    }
  }

  private static func equal(
    _ left: Range<Int>, _ leftHasEscapes: Bool, _ leftPlace: JSONPlace, _ right: Range<Int>,
    _ rightHasEscapes: Bool, _ rightPlace: JSONPlace
  ) -> Bool {
    let one = leftPlace.raw(left)
    let other = rightPlace.raw(right)
    switch (leftHasEscapes, rightHasEscapes) {
    case (false, false): return one.count == other.count && one.elementsEqual(other)
    case (true, false): return JSONText.unescape(one).elementsEqual(other)
    case (false, true): return one.elementsEqual(JSONText.unescape(other))
    case (true, true): return JSONText.unescape(one) == JSONText.unescape(other)
    }
  }

  // MARK: Members

  private static func sortedMembers(
    _ index: Int, _ place: JSONPlace
  ) -> [(name: [UInt8], index: Int)] {
    var members: [(name: [UInt8], index: Int)] = []
    members.reserveCapacity(Int(place.values[index].count))
    var child = index + 1
    while child < place.values[index].next {
      let member = place.values[child]
      let raw = place.raw(member.name)
      members.append((member.nameHasEscapes ? JSONText.unescape(raw) : Array(raw), child))
      child = member.next
    }
    members.sort {
      $0.name == $1.name ? $0.index < $1.index : $0.name.lexicographicallyPrecedes($1.name)
    }
    return members
  }

  /// How many different names an object has.
  static func distinctNames(_ index: Int, _ place: JSONPlace) -> Int {
    let members = sortedMembers(index, place)
    return members.indices.count { $0 == 0 || members[$0].name != members[$0 - 1].name }
  }
}
