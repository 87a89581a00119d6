import NIOSSL

/// Why a handshake failed, as far as the library says. It tells the reasons of TLS apart in its text alone.
package enum TLSFault: Sendable, Hashable {
  /// The certificate is sound, and for another name.
  case otherName
  /// Nobody whom we trust vouches for the certificate, or its time is not now.
  case certificate
  /// The other side speaks no TLS that is taken: 1.2 or later.
  case version
  /// It offers no cipher suite that is taken.
  case suite
  /// What answers does not speak TLS.
  case notTLS
  /// It broke off: mostly over our certificate, or for want of one.
  case refusedUs
  case other

  /// Nil where the error is none of TLS.
  package init?(_ error: any Error) {
    switch error {
    case is NIOSSLExtraError: self = .otherName
    case is NIOSSLError, is BoringSSLError:
      let text = "\(error)"
      func says(_ words: String...) -> Bool { words.contains { text.contains($0) } }
      self =
        if says("CERTIFICATE_VERIFY_FAILED", "unableToValidateCertificate") {
          .certificate
        } else if says("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION") {
          .version
        } else if says("WRONG_CIPHER", "NO_SHARED_CIPHER", "NO_CIPHER", "UNKNOWN_CIPHER", "HANDSHAKE_FAILURE") {
          .suite
        } else if says("WRONG_VERSION_NUMBER", "HTTP_REQUEST") {
          .notTLS
        } else if says("ALERT") {
          .refusedUs
        } else {
          .other
        }
    default: return nil
    }
  }

  /// For people: about the server that was asked.
  package var words: String {
    switch self {
    case .otherName: "its certificate is for another name"
    case .certificate:
      "its certificate is refused: it has expired or is not valid yet, or no authority that is trusted vouches for it"
    case .version: "it speaks neither TLS 1.2 nor TLS 1.3"
    case .suite: "it offers none of the cipher suites that are taken (ECDHE with AES-GCM or ChaCha20)"
    case .notTLS: "what answers does not speak TLS"
    case .refusedUs: "it broke off: it refuses our certificate, or misses one"
    case .other: "the handshake was not finished"
    }
  }

  /// What to look at.
  package var hint: String {
    switch self {
    case .otherName: "use a name of its certificate in `url`"
    case .certificate: "check `ca_file`, its certificate and this machine's clock"
    case .version, .suite: "have it take TLS 1.2 or later with these suites"
    case .notTLS: "check the port in `url`"
    case .refusedUs: "check `certificate_file` and `key_file`, and which authority it trusts"
    case .other: "see its log"
    }
  }
}
