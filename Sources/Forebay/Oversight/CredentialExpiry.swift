internal import Pipeline
internal import Status
internal import Telemetry

/// A file that a connection cannot do without.
struct CredentialFile: Sendable, Hashable {
  /// What it holds; the words are those of alarms and metrics.
  enum Role: String, Sendable, Hashable, CaseIterable {
    /// What we show of ourselves, with its chain.
    case certificate
    /// Those that vouch for the other side.
    case authorities
    case key
    case password
    case token

    /// Whether it holds certificates, which run out.
    var expires: Bool { self == .certificate || self == .authorities }
  }

  /// Whose it is: `source floor`, `uplink central`, `status`, `webhook`, `telemetry`.
  var holder: String
  var role: Role
  /// Absolute.
  var path: String
}

/// What of a certificate matters for its end.
struct CertificatePeriod: Sendable, Hashable {
  /// The common name of its subject; nil where it has none.
  var name: String?
  /// Seconds since 1970, both included (RFC 5280, section 4.1.2.5).
  var notBefore: Int64
  var notAfter: Int64
}

/// A credential as it lies on disk.
struct CredentialSight: Sendable, Hashable {
  /// Why a file is of no use, for people; without what it holds.
  struct Fault: Error, Sendable, Hashable {
    var reason: String
  }

  var file: CredentialFile
  /// Of a key, a password and a token: nothing.
  var periods: Result<[CertificatePeriod], Fault>
}

/// What can be said of a credential at a moment. Pure: the time is passed in.
struct CredentialState: Sendable, Hashable {
  /// A share of the time that a certificate is valid for, after which a later warning would be none: of those of 90
  /// days that are renewed 30 days before their end the ticket comes when that has failed for a week, of those of a day
  /// six hours before their end.
  static let ticketShare: Int64 = 4
  static let pageShare: Int64 = 12
  /// Authorities in one file beyond which it is a public collection, of which some run out every year.
  static let ownAuthorities = 16

  /// How it is; from harmless to bad.
  enum Standing: String, Sendable, Hashable, Comparable, CaseIterable, Codable {
    case ok, ending, ended, future, unusable

    static func < (left: Standing, right: Standing) -> Bool {
      (allCases.firstIndex(of: left) ?? 0) < (allCases.firstIndex(of: right) ?? 0)
    }
  }

  var file: CredentialFile
  var standing: Standing
  /// Nil: nobody needs to know.
  var severity: AlarmSeverity?
  /// For people; empty where ``severity`` is nil.
  var text = ""
  /// When it is no longer of use, seconds since 1970; nil where it does not run out, or cannot be read.
  var end: Int64?

  /// Judges one file.
  ///
  /// A chain is as good as the first of it that runs out. Of authorities one is enough: that the old one runs out beside
  /// the new one is what a rotation is; it is a ticket until then, lest it be the one that still matters.
  /// - Parameters:
  ///   - now: wall nanoseconds.
  ///   - isCertain: the wall clock is synchronised; where it is not, nobody is called over what it says.
  init(_ sight: CredentialSight, _ settings: AlarmSettings, now: Int64, isCertain: Bool) {
    file = sight.file
    standing = .ok
    let periods: [CertificatePeriod]
    switch sight.periods {
    case .failure(let fault):
      standing = .unusable
      severity = .ticket
      text = "\(subject) \(fault.reason)"
      return
    case .success(let read): periods = read
    }
    guard file.role.expires, !periods.isEmpty else { return }
    let seconds = now.quotientFlooring(1_000_000_000)
    let first = CredentialState.decisive(periods, file.role)
    end = first.notAfter
    if let future = periods.filter({ $0.notBefore > seconds }).max(by: { $0.notBefore < $1.notBefore }),
      file.role == .certificate || periods.allSatisfy({ $0.notBefore > seconds })
    {
      standing = .future
      severity = .ticket
      text = "\(subject) is not valid before \(CredentialState.date(future.notBefore)): until then it is refused"
    } else {
      judge(first, settings, seconds, limit: .page)
      if severity == nil, file.role == .authorities, periods.count <= CredentialState.ownAuthorities {
        // Those that have ended beside one that has not are left-overs, and harm nobody.
        let next = periods.filter { $0.notAfter >= seconds }.min { $0.notAfter < $1.notAfter }
        if let next, next != first { judge(next, settings, seconds, limit: .ticket) }
      }
    }
    guard severity != nil, !isCertain else { return }
    severity = .ticket
    text += "; so says this machine's clock, which is not synchronised"
  }

  /// The certificate whose end is the end of the file's use.
  private static func decisive(_ periods: [CertificatePeriod], _ role: CredentialFile.Role) -> CertificatePeriod {
    let sorted = periods.sorted { $0.notAfter < $1.notAfter }
    return role == .authorities ? sorted[sorted.count - 1] : sorted[0]
  }

  private mutating func judge(
    _ period: CertificatePeriod, _ settings: AlarmSettings, _ seconds: Int64, limit: AlarmSeverity
  ) {
    let left = period.notAfter - seconds
    let lifetime = max(0, period.notAfter - period.notBefore)
    func window(_ most: Int64, _ share: Int64) -> Int64 { min(most / 1_000_000_000, lifetime / share) }
    let name = period.name.map { " \"\(Output.plain($0))\"" } ?? ""
    let date = CredentialState.date(period.notAfter)
    if left < 0 {
      standing = .ended
      severity = limit
      text = "\(subject)\(name) has run out on \(date): put a new one in its place"
    } else if left <= window(settings.expiryTicket, CredentialState.ticketShare) {
      standing = .ending
      severity = left <= window(settings.expiryPage, CredentialState.pageShare) ? limit : .ticket
      text =
        "\(subject)\(name) runs out in \(Output.duration(left * 1_000_000_000)), on \(date): put a new one in its place"
    }
  }

  private var subject: String {
    let what =
      switch file.role {
      case .certificate: "the certificate"
      case .authorities: "the authority"
      case .key: "the key"
      case .password: "the password"
      case .token: "the token"
      }
    return "\(what) of \(file.holder) (\(file.path))"
  }

  static func date(_ seconds: Int64) -> String {
    let (wall, overflow) = max(0, seconds).multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? "a date beyond 2262" : RFC3339.text(wall)
  }

  /// The alarm, if it is one.
  var condition: AlarmCondition? {
    severity.map { AlarmCondition(.credentials, subject: file.holder, severity: $0, text: text) }
  }
}

extension Int64 {
  /// Towards minus infinity: before 1970, too, a second has begun when its first nanosecond has.
  fileprivate func quotientFlooring(_ divisor: Int64) -> Int64 {
    let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? quotient - 1 : quotient
  }
}
