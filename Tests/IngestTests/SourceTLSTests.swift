import Glibc
import Ingest
import Telemetry
import TestSupport
import Testing

/// What a source agrees to, against a real server of OpenSSL; and passwords that are replaced.
@Suite struct SourceTLSTests {
  private func settings(port: Int, authority: String) -> SourceSettings {
    .floor(port) {
      $0.host = "localhost"
      $0.tls = .init(caFile: authority)
    }
  }

  @Test("TLS below 1.2 and weak cipher suites are refused, and the text says what is taken")
  func versionsAndSuites() throws {
    let certificates = try Certificates()
    for offer in TLSOffer.weak {
      let server = try OpenSSLPeer(certificates.server, offer)
      let rig = try Rig([settings(port: server.port, authority: certificates.authority)])
      #expect(eventually { rig.status()?.state == .refused }, "\(offer.name)")
      let fault = rig.status()?.fault ?? ""
      #expect(fault.contains("TLS failed") && fault.contains("TLS 1.2 or later"), "\(offer.name): \(fault)")
      server.stop()
    }
    for version in ["tlsv1.2\nciphers ECDHE-ECDSA-AES128-GCM-SHA256", "tlsv1.3"] {
      let broker = try MosquittoBroker(
        "certfile \(certificates.server.certificate)\nkeyfile \(certificates.server.key)\ntls_version \(version)")
      let rig = try Rig([settings(port: broker.port, authority: certificates.authority)])
      #expect(rig.isReady(), "\(version): \(rig.status()?.fault ?? "")")
    }
  }

  @Test("a self-signed certificate is refused in words")
  func selfSigned() throws {
    let certificates = try Certificates()
    let directory = try TemporaryDirectory("self-signed")
    let own = try Certificates.selfSigned("localhost", days: 1, in: directory)
    let server = try OpenSSLPeer(own, TLSOffer.strong[0])
    let rig = try Rig([settings(port: server.port, authority: certificates.authority)])
    #expect(eventually { rig.status()?.state == .refused })
    let fault = rig.status()?.fault ?? ""
    #expect(fault.contains("not vouched for by a known authority"), "\(fault)")
    server.stop()
  }

  @Test("where the new password comes before the broker knows it, the old one goes on, and that is said")
  func password() throws {
    let directory = try TemporaryDirectory("passwords")
    chmod(directory.path, 0o755)
    try Self.set("old", directory)
    let broker = try MosquittoBroker("allow_anonymous false\npassword_file \(directory.file("passwd"))")
    let path = try directory.write("old\n", to: "password")
    var settings = SourceSettings.floor(broker.port)
    settings.user = "forebay"
    settings.passwordFile = path
    let rig = try Rig([settings])
    try #require(rig.isReady())
    #expect(rig.status()?.refusedCredential == nil)
    // The connection ends while only the box has the new one.
    try directory.write("new\n", to: "password")
    broker.stop()
    #expect(eventually { rig.status()?.state != .connected })
    try broker.start()
    #expect(eventually(within: 30) { rig.status()?.state == .connected }, "\(rig.status()?.fault ?? "")")
    let said = rig.status()?.refusedCredential ?? ""
    #expect(said.contains(path) && !said.contains("new"), "\(said)")
    // Then the broker follows.
    broker.stop()
    #expect(eventually { rig.status()?.state != .connected })
    try Self.set("new", directory)
    try broker.start()
    #expect(eventually(within: 30) { rig.status()?.state == .connected }, "\(rig.status()?.fault ?? "")")
    #expect(rig.status()?.refusedCredential == nil)
  }

  private static func set(_ password: String, _ directory: TemporaryDirectory) throws {
    let made = try ChildProcess.run("mosquitto_passwd", ["-b", "-c", directory.file("passwd"), "forebay", password])
    #expect(made.status == 0, "\(made.output)")
    chmod(directory.file("passwd"), 0o644)
  }
}
