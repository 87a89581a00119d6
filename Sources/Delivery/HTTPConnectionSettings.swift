import AsyncHTTPClient
import Glibc
import NIOCore
import NIOSSL
import Telemetry

extension UplinkSettings.HTTP {
  /// The client's configuration; reads the certificate files. What is wrong with them is thrown as
  /// ``Unreachable`` of the kind `configuration`.
  func clientConfiguration(concurrency: Int) throws(Unreachable) -> HTTPClient.Configuration {
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.minimumTLSVersion = .tlsv12
    tls.cipherSuites = TransportSecurity.cipherSuites
    if let caFile {
      tls.trustRoots = .certificates(try certificates(caFile, "the authorities"))
    }
    if let certificateFile {
      tls.certificateChain = try certificates(certificateFile, "the client certificate")
        .map { .certificate($0) }
    }
    if let keyFile {
      do {
        tls.privateKey = .privateKey(try NIOSSLPrivateKey(file: keyFile, format: .pem))
      } catch {
        throw Unreachable(.configuration, "cannot read the client's private key from \(keyFile): \(error)")
      }
    }
    var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
    configuration.redirectConfiguration = .disallow
    // HTTP/1.1 alone: a peer that does not read the body of an HTTP/2 request can stall the connection
    // for all the others on it.
    configuration.httpVersion = .http1Only
    configuration.timeout = .init(connect: .nanoseconds(min(timeout, 10_000_000_000)))
    configuration.connectionPool.idleTimeout = .seconds(30)
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = max(1, concurrency)
    // Else a refused connection shows only when the time for the whole attempt is over.
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.decompression = .disabled
    if let proxy { configuration.proxy = try UplinkSettings.HTTP.proxy(proxy) }
    return configuration
  }

  private func certificates(
    _ path: String, _ what: String
  ) throws(Unreachable) -> [NIOSSLCertificate] {
    let certificates: [NIOSSLCertificate]
    do {
      certificates = try NIOSSLCertificate.fromPEMFile(path)
    } catch {
      throw Unreachable(.configuration, "cannot read \(what) from \(path): \(error)")
    }
    guard !certificates.isEmpty else {
      throw Unreachable(.configuration, "cannot read \(what) from \(path): it holds no certificate")
    }
    return certificates
  }

  /// `http://host:port`, `http://[address]:port`.
  static func proxy(_ text: String) throws(Unreachable) -> HTTPClient.Configuration.Proxy {
    let problem = Unreachable(
      .configuration, "cannot use the proxy \(text): it is not of the form http://host:port")
    guard text.hasPrefix("http://") else { throw problem }
    var rest = text.dropFirst("http://".count)
    if rest.hasSuffix("/") { rest = rest.dropLast() }
    guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...]),
      port > 0
    else { throw problem }
    var host = rest[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    guard !host.isEmpty, !host.contains(where: { "/@[] ".contains($0) }) else { throw problem }
    return .server(host: String(host), port: Int(port))
  }

  /// The URL as it may stand in logs: without user, password and query.
  package var place: String {
    var text = url.prefix { $0 != "?" && $0 != "#" }
    if let slashes = text.firstRange(of: "://") {
      let authority = text[slashes.upperBound...].prefix { $0 != "/" }
      if let at = authority.lastIndex(of: "@") {
        text.removeSubrange(slashes.upperBound...at)
      }
    }
    return String(text)
  }

  /// Scheme, host and port alone: the paths of some hooks are secrets.
  package var origin: String {
    guard let slashes = place.firstRange(of: "://") else { return place }
    return String(place[..<slashes.upperBound] + place[slashes.upperBound...].prefix { $0 != "/" })
  }

  /// The bearer token, without the white space around it; nil when none is configured.
  func token() throws(Unreachable) -> Secret? {
    guard let tokenFile else { return nil }
    func problem(_ cause: String) -> Unreachable {
      Unreachable(.configuration, "cannot read the token from \(tokenFile): \(cause)")
    }
    let descriptor = open(tokenFile, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw problem(String(cString: strerror(errno))) }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    let count = read(descriptor, &buffer, buffer.count)
    guard count >= 0 else { throw problem(String(cString: strerror(errno))) }
    guard count < buffer.count else { throw problem("it is longer than 16 KiB") }
    let isSpace: (UInt8) -> Bool = { $0 == 0x20 || (0x09...0x0d).contains($0) }
    let token = buffer[..<count].drop(while: isSpace).reversed().drop(while: isSpace).reversed()
    guard !token.isEmpty else { throw problem("it is empty") }
    guard token.allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw problem("a token is one line of visible ASCII characters (RFC 6750, section 2.1)")
    }
    return Secret(Array(token))
  }

  /// The state of the files that a connection depends on: it differs after one of them was replaced.
  func certificateFingerprint() -> [Int64] {
    [caFile, certificateFile, keyFile].compactMap { $0 }.flatMap { path -> [Int64] in
      var status = stat()
      guard stat(path, &status) == 0 else { return [-1] }
      return [
        Int64(status.st_ino), Int64(status.st_size), Int64(status.st_mtim.tv_sec),
        Int64(status.st_mtim.tv_nsec),
      ]
    }
  }
}
