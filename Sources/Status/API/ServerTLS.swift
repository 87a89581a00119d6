internal import NIOSSL
internal import Telemetry

extension StatusServerSettings.TLS {
  /// Reads the files.
  /// - Throws: which of them cannot be used, and why.
  func context() throws(StatusServer.TLSFault) -> NIOSSLContext {
    let chain = try certificates(certificateFile, "the certificate")
    let key: NIOSSLPrivateKey
    do {
      key = try NIOSSLPrivateKey(file: keyFile, format: .pem)
    } catch {
      throw StatusServer.TLSFault(description: "cannot read the private key from \(keyFile): \(error)")
    }
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
    configuration.minimumTLSVersion = .tlsv12
    configuration.cipherSuites = TransportSecurity.cipherSuites
    configuration.applicationProtocols = ["http/1.1"]
    if let clientAuthorityFile {
      configuration.trustRoots = .certificates(try certificates(clientAuthorityFile, "the clients' authorities"))
      // One who shows none may have a token.
      configuration.certificateVerification = .optionalVerification
    }
    do {
      return try NIOSSLContext(configuration: configuration)
    } catch {
      throw StatusServer.TLSFault(description: "cannot use \(certificateFile) with \(keyFile): \(error)")
    }
  }

  private func certificates(_ path: String, _ what: String) throws(StatusServer.TLSFault) -> [NIOSSLCertificate] {
    let certificates: [NIOSSLCertificate]
    do {
      certificates = try NIOSSLCertificate.fromPEMFile(path)
    } catch {
      throw StatusServer.TLSFault(description: "cannot read \(what) from \(path): \(error)")
    }
    guard !certificates.isEmpty else {
      throw StatusServer.TLSFault(description: "cannot read \(what) from \(path): it holds no certificate")
    }
    return certificates
  }
}

extension StatusServer {
  package struct TLSFault: Error, Sendable, Hashable, CustomStringConvertible {
    package var description: String
  }
}
