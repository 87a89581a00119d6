/// What every TLS connection of this program keeps to, whoever began it; TLS 1.2 at least besides.
package enum TransportSecurity {
  /// Cipher suites for TLS 1.2, as OpenSSL and BoringSSL write them (`openssl ciphers`): ephemeral keys, so that a
  /// stolen key opens nothing of the past, and authenticated encryption (RFC 9325, section 4.2). Those of TLS 1.3 are
  /// all of that kind and not named here.
  package static let cipherSuites = "ECDHE+AESGCM:ECDHE+CHACHA20"
}
