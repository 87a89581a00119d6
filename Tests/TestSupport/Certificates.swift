import Glibc

/// Certificates for one test, made with the `openssl` command: P-256 keys, valid for a day.
package final class Certificates: Sendable {
  /// PEM files.
  package struct Identity: Sendable {
    package let certificate: String
    package let key: String
  }

  private let directory: TemporaryDirectory
  /// The authority that vouches for ``server``, ``expiredServer``, ``otherHost`` and ``client``.
  package let authority: String
  /// An authority that vouches for none of them.
  package let otherAuthority: String
  /// For `localhost` and 127.0.0.1.
  package let server: Identity
  /// For `localhost` and 127.0.0.1, expired yesterday.
  package let expiredServer: Identity
  /// Valid, for `other.example` only.
  package let otherHost: Identity
  /// For TLS clients; the common name is `client`.
  package let client: Identity
  /// As ``client``, from ``otherAuthority``.
  package let strangeClient: Identity

  package init() throws {
    let directory = try TemporaryDirectory("tls")
    self.directory = directory
    func openssl(_ arguments: String...) throws {
      let (status, output) = try ChildProcess.run("openssl", arguments)
      guard status == 0 else { throw OpenSSLFailed(description: output) }
    }
    func key(_ name: String) throws -> String {
      let path = directory.file("\(name).key")
      try openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
      return path
    }
    func makeAuthority(_ name: String) throws -> Identity {
      let identity = Identity(certificate: directory.file("\(name).pem"), key: try key(name))
      try openssl(
        "req", "-new", "-x509", "-key", identity.key, "-subj", "/CN=\(name)", "-days", "1",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", identity.certificate)
      return identity
    }
    func issue(
      _ name: String, commonName: String, by issuer: Identity, names: String?, days: Int = 1
    ) throws -> Identity {
      let identity = Identity(certificate: directory.file("\(name).pem"), key: try key(name))
      let request = directory.file("\(name).csr")
      try openssl("req", "-new", "-key", identity.key, "-subj", "/CN=\(commonName)", "-out", request)
      let usage = names == nil ? "clientAuth" : "serverAuth"
      var extensions = "basicConstraints=CA:FALSE\nextendedKeyUsage=\(usage)\n"
      if let names { extensions += "subjectAltName=\(names)\n" }
      try openssl(
        "x509", "-req", "-in", request, "-CA", issuer.certificate, "-CAkey", issuer.key,
        "-CAcreateserial", "-days", "\(days)", "-out", identity.certificate,
        "-extfile", try directory.write(extensions, to: "\(name).ext"))
      return identity
    }
    let ca = try makeAuthority("authority")
    let other = try makeAuthority("other-authority")
    let local = "DNS:localhost,IP:127.0.0.1"
    authority = ca.certificate
    otherAuthority = other.certificate
    server = try issue("server", commonName: "localhost", by: ca, names: local)
    expiredServer = try issue("expired", commonName: "localhost", by: ca, names: local, days: -1)
    otherHost = try issue("other-host", commonName: "other.example", by: ca, names: "DNS:other.example")
    client = try issue("client", commonName: "client", by: ca, names: nil)
    strangeClient = try issue("strange-client", commonName: "client", by: other, names: nil)
  }

  /// A certificate that nobody vouches for but itself.
  /// - Parameters:
  ///   - days: for which it is valid, from now on.
  ///   - names: as in ``server``; nil: an authority.
  package static func selfSigned(
    _ commonName: String, days: Int, names: String? = "DNS:localhost,IP:127.0.0.1", in directory: TemporaryDirectory
  ) throws -> Identity {
    let identity = Identity(
      certificate: directory.file("\(commonName).pem"), key: directory.file("\(commonName).key"))
    let (status, output) = try ChildProcess.run(
      "openssl",
      [
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
        "/CN=\(commonName)", "-days", "\(days)", "-keyout", identity.key, "-out", identity.certificate, "-addext",
        names.map { "subjectAltName=\($0)" } ?? "keyUsage=critical,keyCertSign,cRLSign",
      ])
    guard status == 0 else { throw OpenSSLFailed(description: output) }
    return identity
  }

  private struct OpenSSLFailed: Error, CustomStringConvertible {
    let description: String
  }
}
