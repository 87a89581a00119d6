/// CBOR (RFC 8949) as JSON text.
///
/// | CBOR | JSON |
/// |---|---|
/// | integers, bignums (tags 2 and 3) | all of their digits |
/// | floating-point numbers | the shortest decimal text that reads back as the same double |
/// | NaN, infinities, `undefined`, unassigned simple values | `null` |
/// | text | a string |
/// | bytes | a string in base64url without padding (section 6.1) |
/// | other tags | what they enclose; so times (tags 0 and 1) stay texts and numbers |
/// | a map's key that is an integer | its decimal text |
/// | any other key but a text | refused |
///
/// Of a key that stands twice both are written, and the last counts, as in JSON.
package enum CBOR {
  /// The longest bignum, in bytes: 1024 bits, as many digits as the largest double has. Writing one out
  /// takes time with the square of its length.
  static let maximumBignum = 128

  /// One item, and nothing behind it, as JSON.
  package static func json(_ item: UnsafeRawBufferPointer) throws(Refusal) -> [UInt8] {
    var reader = CBORReader(item)
    var output: [UInt8] = []
    try reader.value(try reader.head(), depth: 0, into: &output)
    try reader.requireEnd()
    return output
  }
}

/// Payloads in CBOR: a map is one reading, an array of maps is as many. See ``CBOR``.
package struct CBORTranscoder: Transcoder {
  package init() {}

  package mutating func transcode(
    _ payload: UnsafeRawBufferPointer, received: Int64, into output: inout [UInt8]
  ) throws(Refusal) {
    var reader = CBORReader(payload)
    let head = try reader.head()
    switch head.major {
    case .map:
      output.append(UInt8(ascii: "["))
      try reader.value(head, depth: 1, into: &output)
      output.append(UInt8(ascii: "]"))
    case .array:
      reader.elementsAreMaps = true
      try reader.value(head, depth: 0, into: &output)
    default:
      throw Refusal(.cborNotMap, "the payload is neither a map nor an array of maps")
    }
    try reader.requireEnd()
  }
}

/// A place in CBOR that is being read, item by item.
///
/// A length is compared with the bytes that are left before anything is done with it, and what is written
/// is at most six times what was read.
struct CBORReader {
  enum Major: UInt8 {
    case unsigned, negative, bytes, text, array, map, tag, simple
  }

  /// An item's first bytes, behind its tags.
  struct Head {
    var major: Major
    /// The lower five bits.
    var info: UInt8
    var argument: UInt64
    /// The innermost of the tags around it.
    var tag: UInt64?
    var isIndefinite: Bool { info == 31 }
  }

  private let bytes: UnsafeRawBufferPointer
  private var index = 0
  /// Whether the outermost array must hold maps only.
  var elementsAreMaps = false
  /// The names of integer keys of the maps in the outermost array (SenML's labels).
  var labels: ((Major, UInt64) -> StaticString?)?
  /// Whether decimal fractions (tag 4) are numbers; otherwise they are arrays, as the tag is ignored.
  var readsDecimalFractions = false

  init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
  }

  private var left: Int { bytes.count - index }

  private func syntax(_ reason: String, at place: Int? = nil) -> Refusal {
    Refusal(.cborSyntax, "\(reason) (byte \((place ?? index) + 1))")
  }

  func requireEnd() throws(Refusal) {
    if left > 0 { throw syntax("there is something after the item") }
  }

  // MARK: Heads

  /// The next item's head, its tags read over.
  mutating func head() throws(Refusal) -> Head {
    var tag: UInt64?
    while true {
      var head = try single()
      head.tag = tag
      guard head.major == .tag else { return head }
      if tag == 2 || tag == 3 { throw syntax("a bignum is not a byte string") }
      tag = head.argument
    }
  }

  private mutating func single() throws(Refusal) -> Head {
    guard left > 0 else { throw syntax("the item ends too early") }
    let start = index
    let (major, info) = (Major(rawValue: bytes[index] >> 5) ?? .simple, bytes[index] & 31)
    index += 1
    var argument = UInt64(info)
    switch info {
    case 24...27:
      let length = 1 << Int(info - 24)
      guard left >= length else { throw syntax("the item ends too early", at: bytes.count) }
      argument = bytes[index..<index + length].reduce(0) { $0 << 8 | UInt64($1) }
      index += length
      // Section 3.3 forbids 24...31 here as well; RFC 7049 did not, and has simple(24) among its examples.
      if major == .simple, info == 24, argument < 24 { throw syntax("a simple value has a form too long", at: start) }
    case 28...30:
      throw syntax("a length is of a kind that does not exist", at: start)
    case 31:
      switch major {
      case .bytes, .text, .array, .map, .simple: break
      default: throw syntax("an item of this kind has a definite length", at: start)
      }
    default: break
    }
    return Head(major: major, info: info, argument: argument)
  }

  /// Reads over the end of an item of indefinite length, if it is next.
  private mutating func isBreak() throws(Refusal) -> Bool {
    guard left > 0 else { throw syntax("the item ends too early") }
    guard bytes[index] == 0xFF else { return false }
    index += 1
    return true
  }

  // MARK: Values

  /// Appends the rest of an item.
  /// - Parameter depth: the arrays and maps around it, in what is written.
  mutating func value(_ head: Head, depth: Int, into output: inout [UInt8]) throws(Refusal) {
    if let tag = head.tag, tag == 2 || tag == 3 {
      return try bignum(head, isNegative: tag == 3, into: &output)
    }
    if head.tag == 4, readsDecimalFractions { return try decimalFraction(head, into: &output) }
    switch head.major {
    case .unsigned: output.append(contentsOf: "\(head.argument)".utf8)
    case .negative: output.append(contentsOf: CBORReader.negative(head.argument))
    case .bytes:
      output.append(UInt8(ascii: "\""))
      if head.isIndefinite {
        let whole = try chunks(of: .bytes)
        whole.withUnsafeBytes { output.append(base64: $0, url: true) }
      } else {
        output.append(base64: try take(head), url: true)
      }
      output.append(UInt8(ascii: "\""))
    case .text: try text(head, into: &output)
    case .array: try array(head, depth: depth, into: &output)
    case .map: try map(head, depth: depth, into: &output)
    case .simple: try simple(head, into: &output)
    case .tag: throw syntax("a tag encloses nothing")
    }
  }

  private static func negative(_ argument: UInt64) -> String.UTF8View {
    argument == .max ? "-18446744073709551616".utf8 : "-\(argument + 1)".utf8
  }

  private mutating func take(_ head: Head) throws(Refusal) -> UnsafeRawBufferPointer {
    guard head.argument <= UInt64(left) else { throw syntax("a string announces more bytes than there are") }
    let length = Int(head.argument)
    defer { index += length }
    return UnsafeRawBufferPointer(rebasing: bytes[index..<index + length])
  }

  private mutating func chunks(of major: Major) throws(Refusal) -> [UInt8] {
    var whole: [UInt8] = []
    while try !isBreak() {
      let start = index
      let chunk = try single()
      guard chunk.major == major, !chunk.isIndefinite else {
        throw syntax("a part of a string is no string of its kind", at: start)
      }
      whole.append(contentsOf: try take(chunk))
    }
    return whole
  }

  private mutating func text(_ head: Head, into output: inout [UInt8]) throws(Refusal) {
    output.append(UInt8(ascii: "\""))
    if head.isIndefinite {
      while try !isBreak() {
        let start = index
        let chunk = try single()
        guard chunk.major == .text, !chunk.isIndefinite else {
          throw syntax("a part of a string is no string of its kind", at: start)
        }
        try content(chunk, into: &output)
      }
    } else {
      try content(head, into: &output)
    }
    output.append(UInt8(ascii: "\""))
  }

  private mutating func content(_ head: Head, into output: inout [UInt8]) throws(Refusal) {
    let start = index
    let text = try take(head)
    if let fault = CharacterSet.firstInvalidUTF8(in: text) {
      throw syntax("a text is not UTF-8", at: start + fault)
    }
    output.append(jsonContent: text)
  }

  private func enter(depth: Int) throws(Refusal) {
    if depth >= JSONTape.maximumDepth {
      throw Refusal(.cborDepth, "values are nested more than \(JSONTape.maximumDepth) deep (byte \(index))")
    }
  }

  private mutating func array(_ head: Head, depth: Int, into output: inout [UInt8]) throws(Refusal) {
    try enter(depth: depth)
    // Every element takes a byte at least.
    if !head.isIndefinite, head.argument > UInt64(left) { throw syntax("an array announces more than there is") }
    output.append(UInt8(ascii: "["))
    var count: UInt64 = 0
    while try head.isIndefinite ? !isBreak() : count < head.argument {
      if count > 0 { output.append(UInt8(ascii: ",")) }
      let element = try self.head()
      if depth == 0, elementsAreMaps, element.major != .map {
        throw Refusal(.cborNotMap, "element \(count + 1) of the array is no map")
      }
      try value(element, depth: depth + 1, into: &output)
      count += 1
    }
    output.append(UInt8(ascii: "]"))
  }

  private mutating func map(_ head: Head, depth: Int, into output: inout [UInt8]) throws(Refusal) {
    try enter(depth: depth)
    if !head.isIndefinite, head.argument > UInt64(left) / 2 { throw syntax("a map announces more than there is") }
    output.append(UInt8(ascii: "{"))
    var count: UInt64 = 0
    while try head.isIndefinite ? !isBreak() : count < head.argument {
      if count > 0 { output.append(UInt8(ascii: ",")) }
      try key(depth: depth, into: &output)
      output.append(UInt8(ascii: ":"))
      try value(try self.head(), depth: depth + 1, into: &output)
      count += 1
    }
    output.append(UInt8(ascii: "}"))
  }

  private mutating func key(depth: Int, into output: inout [UInt8]) throws(Refusal) {
    let start = index
    let head = try self.head()
    switch head.major {
    case .text: try text(head, into: &output)
    case .unsigned, .negative:
      output.append(UInt8(ascii: "\""))
      if depth == 1, let label = labels?(head.major, head.argument) {
        output.append(label)
      } else {
        try value(Head(major: head.major, info: head.info, argument: head.argument), depth: depth, into: &output)
      }
      output.append(UInt8(ascii: "\""))
    default:
      throw Refusal(.cborKey, "a map's key is neither a text nor an integer (byte \(start + 1))")
    }
  }

  private func simple(_ head: Head, into output: inout [UInt8]) throws(Refusal) {
    let number: Double
    switch head.info {
    case 20:
      output.append("false")
      return
    case 21:
      output.append("true")
      return
    case 25: number = Double(Float16(bitPattern: UInt16(truncatingIfNeeded: head.argument)))
    case 26: number = Double(Float(bitPattern: UInt32(truncatingIfNeeded: head.argument)))
    case 27: number = Double(bitPattern: head.argument)
    case 31: throw syntax("an end stands where nothing is open", at: index - 1)
    default: number = .nan
    }
    if number.isFinite {
      output.append(contentsOf: number.description.utf8)
    } else {
      output.append("null")
    }
  }

  // MARK: Numbers of many bytes

  private mutating func bignum(_ head: Head, isNegative: Bool, into output: inout [UInt8]) throws(Refusal) {
    guard head.major == .bytes else { throw syntax("a bignum is not a byte string") }
    let whole = head.isIndefinite ? try chunks(of: .bytes) : Array(try take(head))
    let magnitude = whole.drop { $0 == 0 }
    guard magnitude.count <= CBOR.maximumBignum else {
      throw Refusal(.cborNumber, "an integer is longer than \(CBOR.maximumBignum) bytes (before byte \(index + 1))")
    }
    output.append(contentsOf: CBORReader.decimal(magnitude, isNegative: isNegative))
  }

  /// The decimal text of a big-endian number n, or of -1 - n.
  private static func decimal(_ magnitude: ArraySlice<UInt8>, isNegative: Bool) -> [UInt8] {
    // Groups of nine digits, the lowest first: each byte shifts them by 256.
    var groups: [UInt64] = [0]
    func shift(_ factor: UInt64, add: UInt64) {
      var carry = add
      for index in groups.indices {
        let sum = groups[index] * factor + carry
        groups[index] = sum % 1_000_000_000
        carry = sum / 1_000_000_000
      }
      if carry > 0 { groups.append(carry) }
    }
    for byte in magnitude { shift(256, add: UInt64(byte)) }
    if isNegative { shift(1, add: 1) }
    var text = Array((isNegative ? "-" : "").utf8) + Array(String(groups.removeLast()).utf8)
    for group in groups.reversed() {
      let digits = Array(String(group).utf8)
      text += [UInt8](repeating: 0x30, count: 9 - digits.count) + digits
    }
    return text
  }

  /// Tag 4 (section 3.4.4): exponent and mantissa.
  private mutating func decimalFraction(_ head: Head, into output: inout [UInt8]) throws(Refusal) {
    let start = index
    func malformed() -> Refusal { syntax("a decimal fraction is not an exponent and a mantissa", at: start) }
    guard head.major == .array, head.argument == 2 else { throw malformed() }
    let scale = try self.head()
    guard scale.major == .unsigned || scale.major == .negative else { throw malformed() }
    let exponent = scale.major == .unsigned ? Int(clamping: scale.argument) : -1 - Int(clamping: scale.argument)
    let mantissa = try self.head()
    let isBignum = mantissa.major == .bytes && (mantissa.tag == 2 || mantissa.tag == 3)
    guard isBignum || mantissa.major == .unsigned || mantissa.major == .negative else { throw malformed() }
    var integer: [UInt8] = []
    try value(mantissa, depth: 0, into: &integer)
    // So many digits fit between the ends of the range that a longer exponent is out of it anyway.
    let bound = 4 * DecimalNumber.maximumScale
    guard let number = DecimalNumber(integer: integer, exponent: max(-bound, min(bound, exponent))) else {
      throw Refusal(.cborNumber, "a decimal fraction is out of range (byte \(start + 1))")
    }
    number.append(to: &output)
  }
}
