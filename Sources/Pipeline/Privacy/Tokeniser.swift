package import Telemetry

/// HMAC with SHA-256 (RFC 2104, FIPS 198-1) under one key, whose two padded forms are kept.
package struct HMAC: Sendable {
  private let inner: Secret
  private let outer: Secret

  /// Bytes that SHA-256 takes at a time.
  private static let block = 64

  package init(key: [UInt8]) {
    var padded = key.count > HMAC.block ? Digest(of: key).bytes : key
    padded += repeatElement(0, count: HMAC.block - padded.count)
    inner = Secret(padded.map { $0 ^ 0x36 })
    outer = Secret(padded.map { $0 ^ 0x5C })
  }

  /// 32 bytes.
  package func code(of message: [UInt8]) -> [UInt8] {
    Digest(of: outer.revealed, Digest(of: inner.revealed, message).bytes).bytes
  }
}

/// Turns personal values into tokens: the same value gives the same token, in every field and every pipeline
/// with the same keys, and nobody without the key can find the value or make its token.
///
/// A token is `ID.HEX`: the id of its key, and the first 16 bytes of the HMAC. Keys are changed by putting the
/// new one first and leaving the old ones behind it: new tokens come from the first, and ``tokens(of:)`` gives
/// those of all, so that what was written under an old key is still found by a value.
package struct Tokeniser: Sendable, CustomStringConvertible, CustomReflectable {
  package struct Key: Sendable, CustomStringConvertible, CustomReflectable {
    let id: String
    let hmac: HMAC

    /// - Parameters:
    ///   - id: 1 to 16 letters, digits, `-` or `_`; it stands in every token.
    ///   - secret: 16 bytes or more (RFC 2104, section 3, advises 32).
    package init(id: String, secret: Secret) throws(MaskError) {
      let isName = id.utf8.allSatisfy {
        ($0 | 0x20) &- UInt8(ascii: "a") < 26 || $0 &- 0x30 <= 9 || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
      }
      guard isName, (1...16).contains(id.utf8.count) else {
        throw MaskError(
          kind: .keyID, rule: nil, reason: "a token key's id must have 1 to 16 letters, digits, - or _")
      }
      guard secret.count >= Tokeniser.minimumKeyBytes else {
        throw MaskError(
          kind: .keyTooShort, rule: nil,
          reason: "the token key \(id) has \(secret.count) bytes and needs \(Tokeniser.minimumKeyBytes) or more; "
            + "make one with: openssl rand -hex 32")
      }
      self.id = id
      hmac = HMAC(key: secret.revealed)
    }

    /// The id only: the secret is in no log.
    package var description: String { "key \(id)" }
    package var customMirror: Mirror { Mirror(self, children: ["id": id]) }
  }

  /// 128 bits: no shorter key withstands trying all.
  package static let minimumKeyBytes = 16
  /// Bytes of the code in a token: two values share one by chance after some 2^64 values.
  private static let codeBytes = 16

  private let keys: [Key]
  private let first: Key

  /// - Parameter keys: the one in use, then older ones; at least one, and no id twice.
  package init(keys: [Key]) throws(MaskError) {
    guard let first = keys.first else {
      throw MaskError(kind: .keyMissing, rule: nil, reason: "there is no token key; name a file that holds one")
    }
    var seen: Set<String> = []
    for key in keys where !seen.insert(key.id).inserted {
      throw MaskError(kind: .keyID, rule: nil, reason: "two token keys have the id \(key.id); give the new one another")
    }
    self.keys = keys
    self.first = first
  }

  private static func token(_ value: [UInt8], _ key: Key) -> String {
    "\(key.id).\(Hex.encode(key.hmac.code(of: value).prefix(codeBytes)))"
  }

  /// The token of a value's UTF-8 text, under the key in use.
  package func token(of value: [UInt8]) -> String { Tokeniser.token(value, first) }

  /// The tokens of a value under all keys, the one in use first.
  package func tokens(of value: [UInt8]) -> [String] { keys.map { Tokeniser.token(value, $0) } }

  package var description: String { "tokens under \(first)" }
  package var customMirror: Mirror { Mirror(self, children: ["keys": keys]) }
}
