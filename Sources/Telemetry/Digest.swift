internal import COpenSSL

/// A SHA-256 digest (FIPS 180-4).
///
/// OpenSSL computes it, because libmosquitto brings that library into the process anyway and it uses
/// the processor's SHA instructions where there are any.
package struct Digest: Sendable, Hashable, CustomStringConvertible {
  package static let byteCount = 32
  /// The digest "before the first batch" of an epoch: 32 zero bytes.
  package static let zero = Digest(unchecked: [UInt8](repeating: 0, count: byteCount))

  package let bytes: [UInt8]

  private init(unchecked bytes: [UInt8]) { self.bytes = bytes }

  /// Nil unless there are exactly 32 bytes.
  package init?(bytes: [UInt8]) {
    guard bytes.count == Digest.byteCount else { return nil }
    self.bytes = bytes
  }

  /// From 64 hexadecimal digits of either case; nil for anything else.
  package init?(hex: String) {
    guard let bytes = Hex.decode(hex), bytes.count == Digest.byteCount else { return nil }
    self.bytes = bytes
  }

  /// The algorithm. Looked up once: `EVP_sha256()` would have every digest look it up by its name, under locks. It is
  /// nothing but read from then on, and OpenSSL lets all threads do that at once.
  private nonisolated(unsafe) static let algorithm = EVP_MD_fetch(nil, "SHA256", nil)

  /// The digest of some bytes, taken one buffer after the other.
  package init(of parts: [UInt8]...) {
    var output = [UInt8](repeating: 0, count: Digest.byteCount)
    // EVP_MD_CTX_new gives nil only when memory has run out, and the other calls fail only on a
    // library without SHA-256: neither leaves a way to go on.
    guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, Digest.algorithm, nil) == 1 else {
      preconditionFailure("OpenSSL has no SHA-256")
    }
    defer { EVP_MD_CTX_free(context) }
    for part in parts {
      precondition(EVP_DigestUpdate(context, part, part.count) == 1, "SHA-256 failed")
    }
    precondition(EVP_DigestFinal_ex(context, &output, nil) == 1, "SHA-256 failed")
    bytes = output
  }

  /// 64 lower-case hexadecimal digits.
  package var hex: String { Hex.encode(bytes) }
  package var description: String { hex }
}

/// Base 16 (RFC 4648, section 8), in lower case.
package enum Hex {
  package static func encode(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var out: [UInt8] = []
    for byte in bytes {
      out.append(digits[Int(byte >> 4)])
      out.append(digits[Int(byte & 15)])
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// Nil for an odd length or a character that is no hexadecimal digit.
  package static func decode(_ text: String) -> [UInt8]? {
    let digits = Array(text.utf8)
    guard digits.count % 2 == 0 else { return nil }
    func value(_ digit: UInt8) -> UInt8? {
      switch digit {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
      default: nil
      }
    }
    var out: [UInt8] = []
    out.reserveCapacity(digits.count / 2)
    for i in stride(from: 0, to: digits.count, by: 2) {
      guard let high = value(digits[i]), let low = value(digits[i + 1]) else { return nil }
      out.append(high << 4 | low)
    }
    return out
  }
}
