import Ingest
import Synchronization
import TestSupport
import Testing

@Suite struct PasswordTests {
  /// What a broker takes, and what was shown to it.
  private final class Rules: Sendable {
    let taken = Mutex<Set<String>>(["old"])
    let shown = Mutex<[String]>([])
    /// Counted up to end the connection that is there.
    let round = Mutex(0)
  }

  private func broker(_ rules: Rules) throws -> FakeBroker {
    try FakeBroker { client in
      guard let connect = try client.receive() else { return }
      let text = String(decoding: connect.body, as: UTF8.self)
      let password = ["old", "new"].first { text.hasSuffix($0) } ?? "none"
      rules.shown.withLock { $0.append(password) }
      guard rules.taken.withLock({ $0.contains(password) }) else {
        try client.send(.init(kind: .connack, body: [0, 0x87, 0]))
        return
      }
      let round = rules.round.withLock { $0 }
      try client.send(.init(kind: .connack, body: [0, 0, 0]))
      for _ in 0..<2 {
        guard let packet = try client.receive() else { return }
        guard packet.kind == .subscribe else { continue }
        try client.send(.init(kind: .suback, body: Array(packet.body[..<2]) + [0, 1]))
      }
      try client.send(.publish5("t/a", password, id: 1))
      _ = eventually(within: 60) { rules.round.withLock { $0 } != round || client.hasGone() }
    }
  }

  private func settings(_ port: Int, _ path: String) -> SourceSettings {
    .floor(port) {
      $0.user = "forebay"
      $0.passwordFile = path
    }
  }

  /// A source that lives on the old password.
  private func living(
    _ rules: Rules
  ) throws -> (rig: Rig, settings: SourceSettings, broker: FakeBroker, directory: TemporaryDirectory) {
    let directory = try TemporaryDirectory("passwords")
    let path = try directory.write("old", to: "password")
    let broker = try broker(rules)
    let settings = settings(broker.port, path)
    let rig = try Rig([settings])
    try #require(eventually { rig.log.payloads == ["old"] }, "\(rig.status()?.fault ?? "")")
    try directory.write("new", to: "password")
    rules.round.withLock { $0 += 1 }
    try #require(eventually(within: 30) { rig.status()?.refusedCredential != nil }, "\(rig.status()?.fault ?? "")")
    try #require(eventually { rig.log.count == 2 })
    return (rig, settings, broker, directory)
  }

  @Test("a reload shows the password of the file anew, and what is staged is committed before")
  func reload() throws {
    let rules = Rules()
    let (rig, settings, broker, directory) = try living(rules)
    rig.intake.reload(sources: [settings])
    // Still refused: the old one goes on.
    #expect(eventually(within: 30) { rig.log.count == 3 && rig.status()?.state == .connected })
    #expect(rig.status()?.refusedCredential != nil)
    rules.taken.withLock { $0 = ["new"] }
    rig.intake.reload(sources: [settings])
    #expect(eventually(within: 30) { rig.log.payloads.last == "new" && rig.status()?.refusedCredential == nil })
    #expect(rules.shown.withLock { $0 } == ["old", "new", "old", "new", "old", "new"])
    rig.stop()
    withExtendedLifetime((broker, directory)) {}
  }

  @Test("an old password that is refused, too, is not shown again, and nobody is told that it works")
  func revoked() throws {
    let rules = Rules()
    let (rig, _, broker, directory) = try living(rules)
    rules.taken.withLock { $0 = [] }
    let before = rules.shown.withLock { $0.count }
    rules.round.withLock { $0 += 1 }
    #expect(eventually(within: 60) { rules.shown.withLock { $0.count } >= before + 4 })
    #expect(rules.shown.withLock { $0[before..<before + 4] } == ["new", "old", "new", "new"])
    #expect(rig.status()?.refusedCredential == nil)
    rig.stop()
    withExtendedLifetime((broker, directory)) {}
  }
}
