import Foundation
import TestSupport
import Testing

/// Certificates, authorities and tokens that are replaced while a real daemon runs; and those that run out.
@Suite("Credentials that are replaced")
struct RotationTests {
  /// A broker that asks for certificates, and a daemon that has one, all in files that can be replaced.
  private struct Rig {
    var house: House
    var certificates: Certificates

    init() throws {
      let certificates = try Certificates()
      var options = House.Options()
      options.brokerConfiguration =
        "certfile \(certificates.server.certificate)\nkeyfile \(certificates.server.key)\n"
        + "cafile \(certificates.authority)\nrequire_certificate true\n"
      options.source = "ca_file: ca.pem\n      certificate_file: gateway.pem\n      key_file: gateway.key"
      let house = try House("rotation", options)
      options.url = "mqtts://localhost:\(house.broker.port)"
      try house.configure(options)
      self.house = house
      self.certificates = certificates
      try house.directory.write(TemporaryDirectory.read(certificates.authority), to: "ca.pem")
      try place(certificates.client)
      try house.startUpstream()
      try house.startDaemon()
      try house.wait("the broker has let us in") { try house.status().sources[0].subscribed }
    }

    func place(_ identity: Certificates.Identity) throws {
      try house.directory.write(TemporaryDirectory.read(identity.certificate), to: "gateway.pem")
      try house.directory.write(TemporaryDirectory.read(identity.key), to: "gateway.key")
    }

    func publish(_ seq: Int) throws {
      try house.broker.publish(
        "sensors/d1/x", [#"{"device":"d1","seq":\#(seq),"ts":1795231080000}"#],
        options: [
          "--cafile", certificates.authority, "--cert", certificates.client.certificate, "--key",
          certificates.client.key,
        ])
    }

    func reload() throws {
      let log = house.directory.file("daemon.log")
      let before = TemporaryDirectory.read(log).components(separatedBy: "configuration reloaded").count
      house.daemon?.signal(SIGHUP)
      try house.wait("it has reloaded") {
        TemporaryDirectory.read(log).components(separatedBy: "configuration reloaded").count > before
      }
    }
  }

  @Test("a new client certificate that the broker refuses does not end the connection that works; a good one follows")
  func clientCertificate() throws {
    let rig = try Rig()
    let house = rig.house
    try rig.publish(1)
    try house.settle(received: 1)
    // One of an authority that the broker does not know.
    try rig.place(rig.certificates.strangeClient)
    try rig.reload()
    try rig.publish(2)
    try house.settle(received: 2)
    #expect(try house.status().sources[0].state == "connected")
    // It is needed only now.
    house.broker.stop()
    try house.broker.start()
    try house.wait("it is refused, and told") {
      try house.status().sources[0].state == "refused" && house.status().alarms.contains { $0.kind == "source" }
    }
    try rig.place(rig.certificates.client)
    try house.wait("the good one is taken, without a restart", within: 60) {
      try house.status().sources[0].state == "connected"
    }
    try rig.publish(3)
    try house.settle(received: 3)
    try house.expectDelivered(count: 3)
    try house.expectProof()
  }

  @Test("with the old and the new authority in one file the broker's certificate can be replaced at any time")
  func authorities() throws {
    let rig = try Rig()
    let house = rig.house
    let new = try Certificates()
    try house.directory.write(
      TemporaryDirectory.read(rig.certificates.authority) + TemporaryDirectory.read(new.authority), to: "ca.pem")
    try rig.reload()
    try rig.publish(1)
    try house.settle(received: 1)
    // The broker's next certificate is of the new authority, under the same paths; clients are still those of the old.
    for (old, next) in [
      (rig.certificates.server.certificate, new.server.certificate), (rig.certificates.server.key, new.server.key),
    ] {
      try FileManager.default.removeItem(atPath: old)
      try FileManager.default.copyItem(atPath: next, toPath: old)
      chmod(old, 0o644)
    }
    house.broker.stop()
    try house.broker.start()
    try house.wait("it is trusted") { try house.status().sources[0].subscribed }
  }

  private struct Document: Decodable {
    struct Credential: Decodable {
      var holder: String
      var role: String
      var state: String
      var remainingSeconds: Double?
    }
    struct Alarm: Decodable {
      var kind: String
      var subject: String
      var severity: String
      var text: String
      var runbook: String
    }
    var credentials: [Credential]
    var alarms: [Alarm]
  }

  @Test("what has run out is a page, what runs out soon a ticket, in the status and the metrics, until it is replaced")
  func expiry() throws {
    let certificates = try Certificates()
    let api = APITests()
    let house = try api.house("expiry") { $0.status += ", tls: { cert_file: api.pem, key_file: api.key }" }
    func place(_ identity: Certificates.Identity) throws {
      try house.directory.write(TemporaryDirectory.read(identity.certificate), to: "api.pem")
      try house.directory.write(TemporaryDirectory.read(identity.key), to: "api.key")
    }
    func document() throws -> Document {
      let answer = try house.run("status", ["--json", "--socket", house.spool + "/forebay.sock"])
      return try JSONDecoder().decode(Document.self, from: Data(answer.output.utf8))
    }
    func alarm() throws -> Document.Alarm? { try document().alarms.first { $0.kind == "credentials" } }
    try place(certificates.expiredServer)
    try house.startDaemon()
    try house.wait("it is told") { try alarm() != nil }
    let told = try #require(try alarm())
    // A machine whose clock nobody sets is not woken over it.
    #expect(["page", "ticket"].contains(told.severity) && told.subject == "status")
    #expect(told.text.contains("has run out on") && told.text.contains("api.pem"))
    #expect(told.runbook.hasSuffix("operations.md#credentials"))
    let first = try #require(try document().credentials.first { $0.role == "certificate" })
    #expect(first.holder == "status" && first.state == "ended" && first.remainingSeconds ?? 0 < 0)
    let text = try house.run("status", ["--socket", house.spool + "/forebay.sock"]).output
    #expect(text.contains("ALARM credentials status") && text.contains("certificate of status, ran out"), "\(text)")
    let metrics = try house.run("status", ["--metrics", "--socket", house.spool + "/forebay.sock"]).output
    #expect(metrics.contains(#"forebay_credential_remaining_seconds{holder="status",role="certificate"} -"#))
    #expect(metrics.contains(#"forebay_alarm{kind="credentials""#))

    try place(certificates.server)
    try house.wait("it is over") { try alarm() == nil }
    #expect(try document().credentials.first { $0.role == "certificate" }?.state == "ok")
    // The key is gone: nothing needs it yet.
    unlink(house.directory.file("api.key"))
    try house.wait("that is told, too") { try alarm()?.text.contains("does not exist") == true }
  }
}
