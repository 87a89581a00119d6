/// A file that the server gives to everybody who asks, without a token: the status page and what belongs to it.
/// Nothing in it is a secret or speaks of this gateway.
package struct PageAsset: Sendable, Hashable {
  /// With its character set: `text/html; charset=utf-8`.
  package var contentType: String
  package var bytes: [UInt8]
  /// Content-Security-Policy; nil: that of the API, which permits nothing.
  package var policy: String?

  package init(contentType: String, bytes: [UInt8], policy: String? = nil) {
    self.contentType = contentType
    self.bytes = bytes
    self.policy = policy
  }
}
