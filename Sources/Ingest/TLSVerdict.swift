import CMosquitto
import Glibc

/// What OpenSSL found about the broker's certificate.
///
/// The library says no more than "certificate verify failed", and frees its TLS state before the call
/// returns. So this is asked from within the library's log callback. The functions are those of the
/// OpenSSL that libmosquitto brought into the process, looked up by name; where they are missing, the
/// cause is "other" and the library's text stands.
struct TLSVerdict {
  /// `SSL_get_verify_result`: X509_V_OK is 0 (<openssl/x509_vfy.h>).
  private var result = 0
  private var sawCertificate = false

  init() {}

  init(_ handle: OpaquePointer) {
    guard let ssl = mosquitto_ssl_get(handle) else { return }
    if let symbol = dlsym(nil, "SSL_get_verify_result") {
      result = unsafeBitCast(symbol, to: (@convention(c) (UnsafeRawPointer) -> Int).self)(ssl)
    }
    if let symbol = dlsym(nil, "SSL_get_peer_cert_chain") {
      let chain = unsafeBitCast(
        symbol, to: (@convention(c) (UnsafeRawPointer) -> UnsafeRawPointer?).self)(ssl)
      sawCertificate = chain != nil
    }
  }

  var cause: SourceFault.TLSCause {
    switch result {
    // X509_V_OK: then, if we saw its certificate, the broker broke off, over ours.
    case 0: sawCertificate ? .clientCertificate : .other
    // X509_V_ERR_UNSPECIFIED: the library's own check, the host name, is the only one that refuses
    // without saying why.
    case 1: .hostName
    // _CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED.
    case 9: .notYetValid
    case 10: .expired
    // _UNABLE_TO_GET_ISSUER_CERT, _DEPTH_ZERO_SELF_SIGNED_CERT, _SELF_SIGNED_CERT_IN_CHAIN,
    // _UNABLE_TO_GET_ISSUER_CERT_LOCALLY, _UNABLE_TO_VERIFY_LEAF_SIGNATURE, _CERT_UNTRUSTED; and
    // _CERT_SIGNATURE_FAILURE, for an authority of the same name with another key.
    case 2, 7, 18, 19, 20, 21, 27: .untrusted
    default: .other
    }
  }
}
