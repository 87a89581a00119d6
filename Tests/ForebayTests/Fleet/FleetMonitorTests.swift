import Glibc
import NIOSSL
import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite("Fleet: asking") struct FleetMonitorTests {
  private struct Fleet {
    var gateways: SimulatedGateways
    var loaded: FleetSources.Loaded
    var folder: TemporaryDirectory
  }

  private func fleet(
    _ count: Int, faultyEvery: Int, faults: [GatewayBehaviour], certificates: Certificates? = nil
  ) async throws -> Fleet {
    let plan = SimulatedGateways.Plan(count: count, faultyEvery: faultyEvery, faults: faults)
    func tls(_ identity: Certificates.Identity?) throws -> NIOSSLContext? {
      try identity.map {
        try ReceiverServer.tls(certificate: $0.certificate, key: $0.key, clientAuthorities: nil)
      }
    }
    let address = try #require(ListenAddress("127.0.0.1:0"))
    let gateways = try await SimulatedGateways(
      plan, on: address, tls: try tls(certificates?.server), wrong: try tls(certificates?.expiredServer))
    let folder = try TemporaryDirectory("fleet")
    var sources = FleetSources()
    sources.inventory = try folder.write(gateways.inventory, to: "fleet.txt")
    sources.credentials.authorities = certificates?.authority
    return Fleet(gateways: gateways, loaded: try sources.load(), folder: folder)
  }

  private var quick: FleetMonitor.Settings {
    var settings = FleetMonitor.Settings()
    settings.limits.connect = 1_000_000_000
    settings.limits.total = 2_500_000_000
    // Handshakes of a debug build on a busy machine: few at a time, so that none is late.
    settings.concurrency = 16
    settings.seed = 1
    return settings
  }

  /// What must come of each behaviour, and a piece of the words.
  private static func expected(_ behaviour: GatewayBehaviour) -> (FleetBoard.State?, String) {
    switch behaviour {
    case .well: (nil, "")
    case .dead: (.unreachable, "cannot connect: Connection refused")
    case .lost: (.unreachable, "within")
    case .silent: (.unreachable, "connected, and no answer within 2.5 s")
    case .drip: (.unreachable, "bytes of an answer within 2.5 s")
    case .endless, .headers: (.invalid, "more than 64 KiB")
    case .wrongJSON: (.invalid, "cannot be read as JSON")
    case .otherJSON: (.invalid, "wrong type")
    case .wrongID: (.invalid, "and the inventory says")
    case .error: (.unreachable, "503")
    case .broken: (.unreachable, "ends in its middle")
    case .garbage: (.invalid, "not HTTP")
    case .wrongCertificate: (.invalid, "wrong certificate")
    }
  }

  @Test("every way to fail is named for what it is, and the others are all asked", arguments: [false, true])
  func faults(encrypted: Bool) async throws {
    let certificates = encrypted ? try Certificates() : nil
    let faults = GatewayBehaviour.allCases.filter { $0.isFaulty && (encrypted || $0 != .wrongCertificate) }
    let fleet = try await fleet(120, faultyEvery: 3, faults: faults, certificates: certificates)
    let monitor = FleetMonitor(quick)
    let begun = monotonicSeconds()
    monitor.watch(fleet.loaded.fleet)
    await monitor.finish()
    #expect(monotonicSeconds() - begun < 60)
    await monitor.stop()
    let board = monitor.board
    #expect(board.pulls.total == 120)
    for (index, entry) in board.entries.enumerated() {
      let behaviour = fleet.gateways.plan.behaviour(of: index)
      let (state, words) = FleetMonitorTests.expected(behaviour)
      if let state {
        #expect(entry.state == state && entry.reason.contains(words), "\(behaviour): \(entry.reason)")
      } else {
        #expect(entry.isCurrent && entry.summary?.gateway == entry.target.name, "\(index): \(entry.reason)")
      }
    }
    await fleet.gateways.stop()
  }

  @Test("while it goes on, each gateway is asked again over the connection that it has")
  func again() async throws {
    let fleet = try await fleet(20, faultyEvery: 4, faults: [.silent, .error])
    var settings = quick
    settings.interval = 200_000_000
    settings.limits.total = 1_000_000_000
    let monitor = FleetMonitor(settings)
    monitor.watch(fleet.loaded.fleet)
    // A gateway counts answers by connection: who is at 3 was asked three times over one.
    let isKept = eventually(within: 20) {
      let well = monitor.board.entries.filter { $0.target.labels["behaviour"] == "well" }
      return well.allSatisfy { ($0.summary?.uptimeSeconds ?? 0) >= 45 }
    }
    #expect(isKept)
    // The same list once more: nothing that is known is lost.
    monitor.watch(fleet.loaded.fleet)
    #expect(monitor.board.entries.filter(\.isCurrent).count == 15)
    await monitor.stop()
    await fleet.gateways.stop()
  }

  @Test("a gateway that goes is unreachable, and one that comes back is well again")
  func comesAndGoes() async throws {
    let fleet = try await fleet(3, faultyEvery: 0, faults: [])
    var settings = quick
    settings.interval = 100_000_000
    let monitor = FleetMonitor(settings)
    monitor.watch(fleet.loaded.fleet)
    #expect(eventually { monitor.board.entries.allSatisfy(\.isCurrent) })
    let address = fleet.gateways.address
    await fleet.gateways.stop()
    #expect(eventually { monitor.board.entries.allSatisfy { $0.state == .unreachable } })
    #expect(monitor.board.entries.allSatisfy { $0.lastSeen != nil && $0.summary != nil })
    let back = try await SimulatedGateways(fleet.gateways.plan, on: address, tls: nil, wrong: nil)
    #expect(eventually { monitor.board.entries.allSatisfy { $0.state == .ok } })
    await monitor.stop()
    await back.stop()
  }
}
