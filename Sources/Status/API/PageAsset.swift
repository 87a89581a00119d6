internal import Telemetry

/// A file that the server gives to everybody who asks, without a token: the status page and what belongs to it.
/// Nothing in it is a secret or speaks of this gateway.
package struct PageAsset: Sendable, Hashable {
  /// With its character set: `text/html; charset=utf-8`.
  package let contentType: String
  package let bytes: [UInt8]
  /// Content-Security-Policy; nil: that of the API, which permits nothing.
  package let policy: String?
  /// Changes with the bytes (RFC 9110, section 8.8.3): a browser keeps the file and asks whether it is still the same.
  let tag: String

  package init(contentType: String, bytes: [UInt8], policy: String? = nil) {
    self.contentType = contentType
    self.bytes = bytes
    self.policy = policy
    tag = "\"" + Digest(of: bytes).hex.prefix(32) + "\""
  }
}
