/// One trace among all there are (W3C Trace Context level 1, section 3.2.2.3): 16 bytes, not all zero.
package struct TraceID: Sendable, Hashable, CustomStringConvertible {
  package let high: UInt64
  package let low: UInt64

  /// All zeros name no trace: the lowest bit is set then.
  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = high | low == 0 ? 1 : low
  }

  /// 32 lower-case hexadecimal digits.
  package var description: String { Hex.encode(SpanID.bytes(high) + SpanID.bytes(low)) }
}

/// One span of a trace (section 3.2.2.4): 8 bytes, not all zero.
package struct SpanID: Sendable, Hashable, CustomStringConvertible {
  package let rawValue: UInt64

  /// All zeros name no span: the lowest bit is set then.
  package init(_ value: UInt64) { rawValue = value == 0 ? 1 : value }

  static func bytes(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) }
  }

  /// 16 lower-case hexadecimal digits.
  package var description: String { Hex.encode(SpanID.bytes(rawValue)) }
}

/// What `traceparent` says: which trace somebody is in, and which of its spans is the parent of what follows.
package struct TraceContext: Sendable, Hashable, CustomStringConvertible {
  package var trace: TraceID
  package var span: SpanID
  /// Somebody may have recorded the parent (section 3.2.2.5.1).
  package var isSampled: Bool

  package init(trace: TraceID, span: SpanID, isSampled: Bool = true) {
    self.trace = trace
    self.span = span
    self.isSampled = isSampled
  }

  /// The name of the header field and of the MQTT 5 user property.
  package static let name = "traceparent"
  /// Bytes that are looked at: version 00 has 55, and of later versions only the beginning is known.
  private static let length = 55

  /// Reads a field's value as section 3.2.2 and 4.3 ask: version 00 is exactly 55 characters long; of a later
  /// version, ff excepted, the first 55 count if a hyphen or nothing follows. Digits are lower-case, ids not all
  /// zero. Nil for anything else.
  package init?(_ text: String) {
    let bytes = Array(text.utf8.prefix(TraceContext.length + 1))
    guard bytes.count >= TraceContext.length else { return nil }
    let hyphen = UInt8(ascii: "-")
    guard bytes[2] == hyphen, bytes[35] == hyphen, bytes[52] == hyphen,
      let version = TraceContext.number(bytes[0..<2]), version != 0xFF,
      let high = TraceContext.number(bytes[3..<19]), let low = TraceContext.number(bytes[19..<35]),
      let span = TraceContext.number(bytes[36..<52]), let flags = TraceContext.number(bytes[53..<55]),
      high | low != 0, span != 0
    else { return nil }
    if bytes.count > TraceContext.length, version == 0 || bytes[TraceContext.length] != hyphen { return nil }
    self.init(trace: TraceID(high: high, low: low), span: SpanID(span), isSampled: flags & 1 != 0)
  }

  /// Lower-case hexadecimal digits, at most 16 of them.
  private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    for digit in digits {
      switch digit {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(digit - UInt8(ascii: "0"))
      case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
      default: return nil
      }
    }
    return value
  }

  /// The field's value, version 00.
  package var description: String { "00-\(trace)-\(span)-\(isSampled ? "01" : "00")" }
}

extension Batch {
  /// The trace of a batch and of the parts that it was split into: the first 16 bytes of its digest, so that whoever
  /// holds the batch knows its trace, before and after a restart.
  package var trace: TraceID {
    let bytes = (parent?.digest ?? digest).bytes
    return TraceID(high: Batch.number(bytes[0..<8]), low: Batch.number(bytes[8..<16]))
  }

  /// The span of one attempt to deliver it.
  /// - Parameters:
  ///   - attempt: from 1.
  ///   - life: drawn when the process starts, where attempts begin at 1 again. With 0 the first attempt is bytes 16 to
  ///     24 of the digest.
  package func span(attempt: Int, life: UInt64) -> SpanID {
    let own = Batch.number(digest.bytes[16..<24])
    return SpanID(own ^ Batch.scatter(life &+ UInt64(truncatingIfNeeded: attempt - 1)))
  }

  /// The span of a batch's whole way, and those of its stages: from its digest as well.
  /// - Parameter stage: from 0, which is the whole way.
  package func span(stage: Int) -> SpanID {
    let bytes = (parent?.digest ?? digest).bytes
    return SpanID(Batch.number(bytes[24..<32]) &+ UInt64(truncatingIfNeeded: stage))
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
  }

  /// Zero stays zero; whatever differs by one differs in about half of the bits (the finaliser of SplitMix64).
  private static func scatter(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
