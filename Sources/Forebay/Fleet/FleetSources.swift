import Glibc
import NIOSSL
import Telemetry

/// A list of gateways with everything that is needed to ask them.
struct ReadyFleet: Sendable {
  fileprivate(set) var targets: [FleetTarget]
  /// By the path of the file.
  fileprivate var tokens: [String: Secret] = [:]
  fileprivate var contexts: [FleetTarget.Credentials: NIOSSLContext] = [:]

  func token(of target: FleetTarget) -> Secret? { target.credentials.tokenFile.flatMap { tokens[$0] } }

  func context(of target: FleetTarget) -> NIOSSLContext? {
    target.isEncrypted ? contexts[target.credentials.forTLS] : nil
  }
}

extension FleetTarget.Credentials {
  /// What the TLS side depends on: targets that share it share a context.
  fileprivate var forTLS: Self {
    var copy = self
    copy.tokenFile = nil
    return copy
  }
}

/// Where the list of gateways comes from: a file, the command line, the DNS, or all of them.
struct FleetSources: Sendable, Hashable {
  var inventory: String?
  var urls: [String] = []
  /// Names to look up: with a leading underscore for SRV records, else for addresses.
  var names: [String] = []
  /// Of gateways that the DNS names.
  var scheme = "https"
  /// Nil: those of /etc/resolv.conf.
  var nameServer: ListenAddress?
  var credentials = FleetTarget.Credentials()

  struct Loaded: Sendable {
    var fleet: ReadyFleet
    /// For people, a line each.
    var warnings: [String]
    /// Differs after one of the files was replaced.
    fileprivate var fingerprint: [Int64]
    /// The targets before secrets were read.
    fileprivate var targets: [FleetTarget] { fleet.targets }
  }

  /// Reads everything. Blocks, on files and on the DNS.
  func load() throws -> Loaded {
    var targets: [FleetTarget] = []
    var warnings: [String] = []
    // The fingerprint first: a file that is replaced in between shows as a change afterwards.
    var files = inventory.map { [$0] } ?? []
    var fingerprint = FleetSources.fingerprint(files)
    if let inventory {
      let bytes: [UInt8]
      do { bytes = try GivenFile.read(inventory, limit: FleetInventory.mostBytes) } catch {
        throw UnusableInput(
          place: inventory == "-" ? "standard input" : inventory, reason: "cannot be read: \(error.reason)")
      }
      let read = try FleetInventory.read(bytes, file: inventory, defaults: credentials)
      targets += read.targets
      warnings += read.warnings.map(\.summary)
    }
    if !urls.isEmpty {
      let read = try FleetInventory.read(
        Array(urls.joined(separator: "\n").utf8), file: "./command line", defaults: credentials)
      targets += read.targets
      warnings += read.warnings.map(\.summary)
    }
    for name in names { targets += try lookUp(name) }
    var known: Set<String> = []
    targets.removeAll { !known.insert($0.url).inserted }
    guard !targets.isEmpty else { throw UnusableInput(place: "the inventory", reason: "names no gateway") }

    var fleet = ReadyFleet(targets: targets)
    for credentials in Set(targets.map(\.credentials)) {
      guard let path = credentials.tokenFile, fleet.tokens[path] == nil else { continue }
      fleet.tokens[path] = try FleetSources.token(path)
    }
    for credentials in Set(targets.filter(\.isEncrypted).map(\.credentials.forTLS)) {
      fleet.contexts[credentials] = try FleetSources.context(credentials)
    }
    files = Set(targets.flatMap(\.credentials.paths)).sorted()
    fingerprint += FleetSources.fingerprint(files)
    return Loaded(fleet: fleet, warnings: warnings, fingerprint: fingerprint)
  }

  /// Reads everything again if something may have changed; nil where nothing has.
  func reload(after loaded: Loaded) throws -> Loaded? {
    if names.isEmpty {
      let files = Set(loaded.targets.flatMap(\.credentials.paths)).sorted()
      let now = FleetSources.fingerprint(inventory.map { [$0] } ?? []) + FleetSources.fingerprint(files)
      if now == loaded.fingerprint { return nil }
    }
    let fresh = try load()
    return fresh.targets == loaded.targets && fresh.fingerprint == loaded.fingerprint ? nil : fresh
  }

  private static func fingerprint(_ paths: [String]) -> [Int64] {
    paths.flatMap { path -> [Int64] in
      var status = stat()
      guard stat(path, &status) == 0 else { return [-1] }
      return [
        Int64(status.st_ino), Int64(status.st_size), Int64(status.st_mtim.tv_sec), Int64(status.st_mtim.tv_nsec),
      ]
    }
  }

  private func lookUp(_ name: String) throws -> [FleetTarget] {
    let hosts: [(host: String, port: Int, certificateName: String?)]
    do throws(NameLookup.Fault) {
      let lookup = NameLookup(server: nameServer)
      if name.hasPrefix("_") {
        hosts = try lookup.services(name).map { ($0.host, $0.port, nil) }
      } else {
        // A certificate is for a name and seldom for an address: that of the list stands for all.
        hosts = try lookup.addresses(name).map { ($0, FleetTarget.defaultPort, name) }
      }
    } catch {
      throw UnusableInput(place: name, reason: error.reason)
    }
    return try hosts.map { host, port, certificateName in
      let text = "\(scheme)://\(FleetTarget.authority(host, port))"
      do {
        var target = FleetTarget(
          try ConfigurationURL(parsing: text, schemes: [scheme], allowsPath: false))
        target.credentials = credentials
        target.certificateName = certificateName
        return target
      } catch {
        throw UnusableInput(place: name, reason: "leads to '\(Output.plain(host))', which is no host name")
      }
    }
  }

  // MARK: Secrets

  static func token(_ path: String) throws -> Secret {
    let contents: ConfigurationFiles.Contents
    switch ConfigurationFiles.system.read(path, 16 << 10) {
    case .failure(let fault): throw UnusableInput(place: path, reason: fault.reason)
    case .success(let read): contents = read
    }
    let words = contents.bytes.split { $0 == 0x20 || (0x09...0x0d).contains($0) }
    // RFC 6750, section 2.1: a token that is no token would end up in a header field.
    guard words.count == 1, words[0].allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw UnusableInput(place: path, reason: "does not hold one token: a line of visible ASCII characters")
    }
    return Secret(Array(words[0]))
  }

  private static func context(_ credentials: FleetTarget.Credentials) throws -> NIOSSLContext {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.minimumTLSVersion = .tlsv12
    configuration.cipherSuites = TransportSecurity.cipherSuites
    func certificates(_ path: String) throws -> [NIOSSLCertificate] {
      do {
        let certificates = try NIOSSLCertificate.fromPEMFile(path)
        if !certificates.isEmpty { return certificates }
      } catch {
        throw UnusableInput(place: path, reason: "cannot be read as PEM certificates: \(error)")
      }
      throw UnusableInput(place: path, reason: "holds no certificate")
    }
    if let path = credentials.authorities { configuration.trustRoots = .certificates(try certificates(path)) }
    if let path = credentials.certificate {
      configuration.certificateChain = try certificates(path).map { .certificate($0) }
    }
    if let path = credentials.key {
      do { configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: path, format: .pem)) } catch {
        throw UnusableInput(place: path, reason: "cannot be read as a PEM key: \(error)")
      }
    }
    do { return try NIOSSLContext(configuration: configuration) } catch {
      throw UnusableInput(
        place: credentials.paths.joined(separator: ", "), reason: "cannot be used for TLS: \(error)")
    }
  }
}
