internal import Delivery
internal import Ingest
internal import NIOSSL
internal import Status
internal import Synchronization
internal import Telemetry

/// Looks at the files of credentials, so that what runs out or cannot be read is known before a connection needs it.
///
/// A file is read again when it looks different from outside; one that could not be used, at every look, because what
/// keeps it from being read (a mode, a folder above it) need not show there.
final class CredentialWatch: Sendable {
  /// Bytes of a file at most: a public collection of authorities has some 250 KiB.
  static let largestFile = 4 << 20

  private struct Known: Sendable {
    var mark: TableWatch.Mark?
    var sight: CredentialSight
  }

  private struct State: Sendable {
    var known: [CredentialFile: Known] = [:]
    var sights: [CredentialSight] = []
  }

  private let state = Mutex(State())

  /// As they were at the last look, in the order of the configuration.
  var sights: [CredentialSight] { state.withLock { $0.sights } }

  /// Looks at these files, and forgets all others.
  func look(at files: [CredentialFile], _ system: ConfigurationFiles = .system) -> [CredentialSight] {
    state.withLock { state in
      var known: [CredentialFile: Known] = [:]
      state.sights = files.map { file in
        let mark = TableWatch.mark(file.path)
        if let before = state.known[file], before.mark == mark, mark != nil, case .success = before.sight.periods {
          known[file] = before
          return before.sight
        }
        let sight = CredentialSight(file: file, periods: CredentialWatch.read(file, system))
        known[file] = Known(mark: mark, sight: sight)
        return sight
      }
      state.known = known
      return state.sights
    }
  }

  static func read(
    _ file: CredentialFile, _ system: ConfigurationFiles
  ) -> Result<[CertificatePeriod], CredentialSight.Fault> {
    let bytes: [UInt8]
    switch system.read(file.path, largestFile) {
    case .failure(let fault): return .failure(.init(reason: fault.reason))
    case .success(let contents): bytes = contents.bytes
    }
    guard !bytes.isEmpty else { return .failure(.init(reason: "is empty")) }
    guard file.role.expires else { return .success([]) }
    do {
      let certificates = try NIOSSLCertificate.fromPEMBytes(bytes)
      guard !certificates.isEmpty else { return .failure(.init(reason: "holds no certificate")) }
      return .success(
        certificates.map { certificate in
          CertificatePeriod(
            name: (try? certificate.toDERBytes()).flatMap { CertificateNames.read(der: $0).first },
            notBefore: Int64(certificate.notValidBefore), notAfter: Int64(certificate.notValidAfter))
        })
    } catch {
      return .failure(.init(reason: "holds no certificate that can be read"))
    }
  }
}

extension Configuration {
  /// The files of every connection, each once for each holder.
  var credentialFiles: [CredentialFile] {
    var all: [CredentialFile] = []
    func add(_ holder: String, _ role: CredentialFile.Role, _ path: String?) {
      if let path { all.append(CredentialFile(holder: holder, role: role, path: path)) }
    }
    for source in sources {
      let holder = "source \(source.name)"
      add(holder, .certificate, source.tls?.certificateFile)
      add(holder, .authorities, source.tls?.caFile)
      add(holder, .key, source.tls?.keyFile)
      add(holder, .password, source.passwordFile)
    }
    func add(_ holder: String, _ http: UplinkSettings.HTTP) {
      add(holder, .certificate, http.certificateFile)
      add(holder, .authorities, http.caFile)
      add(holder, .key, http.keyFile)
      add(holder, .token, http.tokenFile)
    }
    for uplink in uplinks {
      if case .http(let http) = uplink.kind { add("uplink \(uplink.name)", http) }
    }
    add("status", .certificate, status.api?.tls?.certificateFile)
    add("status", .authorities, status.api?.tls?.clientAuthorityFile)
    add("status", .key, status.api?.tls?.keyFile)
    if let webhook = notifications.webhook { add("webhook", webhook) }
    if let otlp = telemetry.otlp { add("telemetry", otlp.http) }
    return all
  }
}

extension CredentialState {
  /// Seconds until the end of each that runs out, those that have ended below zero.
  /// - Parameter now: wall nanoseconds.
  static func gather(_ states: [CredentialState], now: Int64, into sink: inout some MetricsSink) {
    let ends = states.filter { $0.end != nil }
    guard !ends.isEmpty else { return }
    sink.family(
      "forebay_credential_remaining_seconds", .gauge,
      help: "Seconds until a certificate, or the last authority of a file, runs out; below zero when it has.")
    for state in ends {
      let left = (state.end ?? 0).subtractingReportingOverflow(now / 1_000_000_000)
      sink.sample(
        MetricLabels([("holder", state.file.holder), ("role", state.file.role.rawValue)]),
        left.overflow ? Int64.max : left.partialValue)
    }
  }
}
