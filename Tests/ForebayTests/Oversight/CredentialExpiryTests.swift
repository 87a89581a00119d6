import Foundation
import TestSupport
import Testing

@testable import Ingest
@testable import Status
@testable import Telemetry
@testable import forebay

@Suite("Credentials: what runs out, and when that is told")
struct CredentialExpiryTests {
  private static let day: Int64 = 86_400
  private static let base: Int64 = 1_800_000_000

  private static func sight(
    _ role: CredentialFile.Role, _ periods: [(from: Int64, to: Int64)]
  ) -> CredentialSight {
    CredentialSight(
      file: CredentialFile(holder: "uplink central", role: role, path: "/etc/forebay/x.pem"),
      periods: .success(
        periods.enumerated().map {
          CertificatePeriod(
            name: "name \($0.offset)", notBefore: base + $0.element.from, notAfter: base + $0.element.to)
        }))
  }

  private static func state(
    _ sight: CredentialSight, at seconds: Int64, isCertain: Bool = true, _ settings: AlarmSettings = AlarmSettings()
  ) -> CredentialState {
    CredentialState(sight, settings, now: (base + seconds) * 1_000_000_000, isCertain: isCertain)
  }

  @Test("of a certificate for a year: nothing until 30 days before, then a ticket, a page from 7 days before")
  func year() {
    let sight = Self.sight(.certificate, [(0, 365 * Self.day)])
    let end = 365 * Self.day
    for (left, severity, standing) in [
      (30 * Self.day + 1, nil, .ok), (30 * Self.day, .ticket, .ending), (7 * Self.day + 1, .ticket, .ending),
      (7 * Self.day, .page, .ending), (0, .page, .ending), (-1, .page, .ended), (-900 * Self.day, .page, .ended),
    ] as [(Int64, AlarmSeverity?, CredentialState.Standing)] {
      let state = Self.state(sight, at: end - left)
      #expect(state.severity == severity && state.standing == standing, "\(left): \(state)")
    }
    let soon = Self.state(sight, at: end - 6 * Self.day)
    #expect(
      soon.condition?.text
        == "the certificate of uplink central (/etc/forebay/x.pem) \"name 0\" runs out in 6 d, on "
        + "2028-01-15T08:00:00Z: put a new one in its place")
    #expect(soon.condition?.kind == .credentials && soon.condition?.subject == "uplink central")
    #expect(Self.state(sight, at: end + 1).text.contains("has run out on 2028-01-15T08:00:00Z"))
  }

  /// Days of validity, then seconds before the end: of the ticket, and of the page.
  static let lifetimes: [[Int64]] = [
    [1, 21_600, 7_200], [7, 151_200, 50_400], [90, 1_944_000, 604_800],
  ]

  @Test(
    "of one that is valid for a short time the ticket comes with a quarter of it left, the page with a twelfth",
    arguments: CredentialExpiryTests.lifetimes)
  func short(_ lifetime: [Int64]) {
    let (days, ticket, page) = (lifetime[0], lifetime[1], lifetime[2])
    let sight = Self.sight(.certificate, [(0, days * Self.day)])
    func severity(_ left: Int64) -> AlarmSeverity? { Self.state(sight, at: days * Self.day - left).severity }
    #expect(severity(ticket + 1) == nil && severity(ticket) == .ticket)
    #expect(severity(page + 1) == .ticket && severity(page) == .page)
  }

  @Test("other times before the end can be chosen")
  func chosen() {
    var settings = AlarmSettings()
    settings.expiryTicket = 10 * Self.day * 1_000_000_000
    settings.expiryPage = Self.day * 1_000_000_000
    let sight = Self.sight(.certificate, [(0, 365 * Self.day)])
    func severity(_ left: Int64) -> AlarmSeverity? { Self.state(sight, at: 365 * Self.day - left, settings).severity }
    #expect(severity(10 * Self.day + 1) == nil && severity(10 * Self.day) == .ticket)
    #expect(severity(Self.day + 1) == .ticket && severity(Self.day) == .page)
  }

  @Test("a chain is as good as the first of it that runs out")
  func chain() {
    let sight = Self.sight(.certificate, [(0, 365 * Self.day), (-100 * Self.day, 40 * Self.day)])
    #expect(Self.state(sight, at: 20 * Self.day).severity == .ticket)
    #expect(Self.state(sight, at: 20 * Self.day).text.contains("name 1"))
    #expect(Self.state(sight, at: 41 * Self.day).standing == .ended)
    #expect(Self.state(sight, at: 0).end == Self.base + 40 * Self.day)
  }

  @Test("of two authorities the old one that runs out is a ticket, one that has run out beside the new one is nothing")
  func authorities() {
    let sight = Self.sight(.authorities, [(-1_000 * Self.day, 20 * Self.day), (0, 1_000 * Self.day)])
    #expect(Self.state(sight, at: 0).severity == .ticket && Self.state(sight, at: 19 * Self.day).severity == .ticket)
    let after = Self.state(sight, at: 21 * Self.day)
    #expect(after.severity == nil && after.standing == .ok)
    // The last one is the one that counts.
    #expect(Self.state(sight, at: 999 * Self.day).severity == .page)
    #expect(Self.state(sight, at: 1_001 * Self.day).standing == .ended)
    // In a public collection some run out every year.
    let many = Self.sight(
      .authorities, (0..<140).map { (-1_000 * Self.day, Int64($0 + 1) * 20 * Self.day) })
    #expect(Self.state(many, at: 0).severity == nil)
  }

  @Test("what is not valid yet is a ticket, of authorities only where none is")
  func future() {
    let state = Self.state(Self.sight(.certificate, [(Self.day, 365 * Self.day)]), at: 0)
    #expect(state.standing == .future && state.severity == .ticket)
    #expect(state.text.contains("not valid before 2027-01-16"))
    let both = Self.sight(.authorities, [(-Self.day, 365 * Self.day), (Self.day, 365 * Self.day)])
    #expect(Self.state(both, at: 0).severity == nil)
    #expect(Self.state(Self.sight(.authorities, [(Self.day, 365 * Self.day)]), at: 0).standing == .future)
  }

  @Test("a clock that is not synchronised calls nobody, and says so")
  func clock() {
    let state = Self.state(Self.sight(.certificate, [(0, 365 * Self.day)]), at: 400 * Self.day, isCertain: false)
    #expect(state.severity == .ticket && state.text.contains("not synchronised"))
    #expect(Self.state(Self.sight(.certificate, [(0, 365 * Self.day)]), at: 0, isCertain: false).severity == nil)
  }

  @Test("times at the ends of what can be written break nothing")
  func ends() {
    for to in [Int64.max - Self.base, Int64.min + Self.base + 2 * Self.day] {
      let sight = Self.sight(.certificate, [(-Self.base, to)])
      #expect(!Self.state(sight, at: 0).text.contains("nan"))
    }
    #expect(CredentialState.date(.max) == "a date beyond 2262")
    #expect(CredentialState.date(-5) == "1970-01-01T00:00:00Z")
  }

  @Test("a mode that was changed makes a file look different, so that it is read again")
  func mode() throws {
    let directory = try TemporaryDirectory("credentials")
    let path = try directory.write("s3cret", to: "token")
    let before = TableWatch.mark(path)
    // The file system's clock goes in steps.
    #expect(eventually { chmod(path, 0) == 0 && TableWatch.mark(path) != before })
  }

  @Test("real certificates are read with their names and times, again when they have changed, and keys are looked for")
  func files() throws {
    let directory = try TemporaryDirectory("credentials")
    let short = try Certificates.selfSigned("short", days: 20, in: directory)
    let long = try Certificates.selfSigned("long", days: 400, in: directory)
    let path = directory.file("gateway.pem")
    try directory.write(TemporaryDirectory.read(long.certificate), to: "gateway.pem")
    func file(_ role: CredentialFile.Role, _ path: String) -> CredentialFile {
      CredentialFile(holder: "source floor", role: role, path: path)
    }
    let watch = CredentialWatch()
    let now = Int64(Date().timeIntervalSince1970) * 1_000_000_000
    func look(_ files: [CredentialFile], days: Int64 = 0) -> [CredentialState] {
      watch.look(at: files).map {
        CredentialState($0, AlarmSettings(), now: now + days * Self.day * 1_000_000_000, isCertain: true)
      }
    }
    let certificate = file(.certificate, path)
    #expect(look([certificate]).map(\.severity) == [nil])
    #expect(look([certificate], days: 371).map(\.severity) == [.ticket])
    #expect(look([certificate], days: 394).map(\.severity) == [.page])
    #expect(look([certificate], days: 401).map(\.standing) == [.ended])
    #expect(look([certificate], days: -1).map(\.standing) == [.future])
    try directory.write(TemporaryDirectory.read(short.certificate), to: "gateway.pem")
    let changed = look([certificate], days: 14)
    // Of 20 days a quarter is 5 days, a twelfth 40 hours.
    #expect(look([certificate], days: 16).map(\.severity) == [.ticket])
    #expect(look([certificate], days: 19).map(\.severity) == [.page])
    #expect(changed.map(\.severity) == [nil])
    #expect(look([certificate], days: 19)[0].text.contains("\"short\""))
    // A bundle.
    try directory.write(
      TemporaryDirectory.read(long.certificate) + TemporaryDirectory.read(short.certificate), to: "ca.pem")
    let bundle = look([file(.authorities, directory.file("ca.pem"))], days: 17)
    #expect(bundle.map(\.severity) == [.ticket] && bundle[0].text.contains("\"short\""))

    let faults: [(CredentialFile.Role, String, String)] = [
      (.certificate, directory.file("nowhere.pem"), "does not exist"),
      (.certificate, try directory.write("", to: "empty.pem"), "is empty"),
      (.authorities, try directory.write("nonsense", to: "nonsense.pem"), "holds no certificate"),
      (.token, try directory.write("", to: "token"), "is empty"), (.key, directory.path, "is not a file"),
    ]
    for (role, path, words) in faults {
      let state = try #require(look([file(role, path)]).first)
      #expect(state.standing == .unusable && state.severity == .ticket, "\(role)")
      #expect(state.text.contains(path) && state.text.contains(words), "\(state.text)")
    }
    // One that is mended is well again, and what it holds is never said.
    try directory.write("s3cret", to: "token")
    let token = look([file(.token, directory.file("token"))])
    #expect(token.map(\.severity) == [nil] && !"\(watch.sights)".contains("s3cret"))
  }

  @Test("a look at the gateway tells of them, and of new ones that are refused while the old ones go on")
  func sight() {
    var sight = Sight(now: Seen.moment(0))
    sight.credentials = [Self.sight(.certificate, [(-Self.day, 1)])]
    var source = Seen.source(.connected)
    source.refusedCredential = "the broker refuses the password"
    sight.sources = [source]
    let all = sight.credentialConditions(AlarmSettings())
    #expect(Seen.text(all) == ["page credentials uplink central", "ticket credentials source floor"])
    #expect(all.last?.text == "source floor: the broker refuses the password")
  }

  @Test("the metrics have the seconds that are left, below zero of what has run out")
  func metrics() {
    var page = PrometheusPage()
    let states = [
      Self.state(Self.sight(.certificate, [(0, 100)]), at: 40), Self.state(Self.sight(.authorities, [(0, 10)]), at: 40),
      Self.state(Self.sight(.key, []), at: 40),
    ]
    CredentialState.gather(states, now: (Self.base + 40) * 1_000_000_000, into: &page)
    let text = String(decoding: page.document(), as: UTF8.self)
    #expect(text.contains(#"forebay_credential_remaining_seconds{holder="uplink central",role="certificate"} 60"#))
    #expect(text.contains(#"forebay_credential_remaining_seconds{holder="uplink central",role="authorities"} -30"#))
    #expect(!text.contains("key"))
  }
}
