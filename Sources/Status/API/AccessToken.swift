package import Telemetry

/// A token of the API and what is kept of it.
///
/// A token is 256 bits from the system's generator, so nobody finds one by trying, and a plain SHA-256 of it may
/// lie in a file: salts and slow digests are for secrets that people choose, of which there are few enough to try
/// them all (RFC 6819, 5.1.4.2.2: a token of high entropy needs neither).
package struct AccessToken: Sendable, Hashable {
  package static let byteCount = 32
  private static let prefix = "fb_"

  package var name: String
  package var role: Role
  package var digest: Digest

  package init(name: String, role: Role, digest: Digest) {
    self.name = name
    self.role = role
    self.digest = digest
  }

  /// What is shown to its holder once, and never kept.
  /// - Parameter random: ``byteCount`` bytes from a generator fit for secrets.
  package static func text(random: [UInt8]) -> String { prefix + Hex.encode(random) }

  package static func digest(of text: String) -> Digest { Digest(of: Array(text.utf8)) }

  /// The line of a file of tokens.
  package var line: String { "\(role.rawValue) \(name) \(digest.hex)" }
}

/// A file of tokens: a line each, `role name sha256`; empty lines and those that begin with `#` are left out.
package struct AccessTokenFile: Sendable, Hashable {
  /// Bytes of a file, at most: thousands of tokens.
  package static let maximumBytes = 256 << 10

  /// Why a file is none.
  package struct Fault: Error, Sendable, Hashable, CustomStringConvertible {
    /// From 1; nil: the file as a whole.
    package var line: Int?
    package var reason: String

    package var description: String { line.map { "line \($0) \(reason)" } ?? reason }
  }

  package var tokens: [AccessToken]

  package init(tokens: [AccessToken] = []) { self.tokens = tokens }

  package init(_ bytes: [UInt8]) throws(Fault) {
    tokens = []
    guard bytes.count <= AccessTokenFile.maximumBytes else {
      throw Fault(line: nil, reason: "has more than \(AccessTokenFile.maximumBytes >> 10) KiB")
    }
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (index, line) in lines.enumerated() {
      let text = String(decoding: line, as: UTF8.self)
      let words = text.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\r" }).map(String.init)
      guard let first = words.first, !first.hasPrefix("#") else { continue }
      func fail(_ reason: String) -> Fault { Fault(line: index + 1, reason: reason) }
      // Nothing of the line is quoted: somebody may have put a token there.
      guard words.count == 3 else { throw fail("is not of the form 'role name sha256'") }
      guard let role = Role(rawValue: first) else {
        throw fail("does not begin with a role: \(Role.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      guard let digest = Digest(hex: words[2]) else {
        throw fail("does not end with a SHA-256 in 64 hexadecimal digits")
      }
      guard !tokens.contains(where: { $0.name == words[1] }) else { throw fail("has a name that stands there twice") }
      tokens.append(AccessToken(name: words[1], role: role, digest: digest))
    }
  }

  /// Whose token it is; nil: nobody's. How long it takes depends on neither.
  package func holder(of text: String) -> AccessToken? {
    let digest = AccessToken.digest(of: text)
    var holder: AccessToken?
    for token in tokens where areSameSecrets(token.digest.bytes, digest.bytes) { holder = token }
    return holder
  }
}
