import Glibc
import Synchronization
import TestSupport
import Testing

@testable import forebay

@Suite struct SimulationTests {
  /// Everything that a broker hands on, written down by `mosquitto_sub`, which begins before anything
  /// is published and keeps its session while the broker is away.
  private final class Listener {
    let directory: TemporaryDirectory
    let process: ChildProcess
    var lines: [Substring] {
      TemporaryDirectory.read(directory.file("messages")).split(separator: "\n")
    }

    init(_ broker: MosquittoBroker, qos: Int = 1) throws {
      directory = try TemporaryDirectory("listener")
      process = try ChildProcess(
        "mosquitto_sub",
        [
          "-h", "127.0.0.1", "-p", "\(broker.port)", "-i", "listener", "-c", "-q", "\(qos)",
          "-t", "sensors/#", "-F", "%t %p",
        ],
        output: directory.file("messages"))
      #expect(eventually { broker.log.contains("Sending SUBACK to listener") })
    }

    deinit { process.signal(SIGTERM) }

    /// Waits for so many messages, and says how often each came.
    func counts(of total: Int) -> [Substring: Int] {
      _ = eventually(within: 30) { lines.count >= total }
      return lines.reduce(into: [:]) { $0[$1, default: 0] += 1 }
    }
  }

  private static let settings = "log_type all\nmax_queued_messages 0\n"

  private func plan(_ broker: MosquittoBroker) -> SimulationPlan {
    var plan = SimulationPlan(access: BrokerAccess(host: "127.0.0.1", port: broker.port))
    plan.rate = .perDevice(0)
    return plan
  }

  private func series() throws -> SeriesCSV {
    try SeriesCSV(
      Array("timestamp,value\n2013-12-02 21:15:00,73.9\n2013-12-02 21:20:00,74.2\n".utf8),
      path: "/data/machine_temperature.csv")
  }

  @Test("what is reported published and acknowledged is what a subscriber gets, duplicates included")
  func published() async throws {
    let broker = try MosquittoBroker(Self.settings)
    let listener = try Listener(broker)
    var plan = plan(broker)
    plan.series = [try series()]
    plan.devices = 7
    plan.clients = 2
    plan.count = 2000
    plan.duplicates = 10
    let report = try await Simulation(plan).run()
    #expect(report.published == 2000 && report.isClean && !report.interrupted)
    #expect((100...300).contains(report.duplicates))
    #expect(report.broker.acknowledged == 2000 + report.duplicates)
    #expect(report.broker.resent == 0 && report.devices == 7 && report.clients == 2)
    let counts = listener.counts(of: 2000 + report.duplicates)
    #expect(counts.values.reduce(0, +) == 2000 + report.duplicates)
    // Each device: its sequence is dense from 1.
    let sequences = counts.keys.reduce(into: [Substring: [Int]]()) { out, line in
      let topic = line.prefix { $0 != " " }
      let digits = line.split(separator: "\"seq\":").last?.prefix { $0.isNumber } ?? ""
      out[topic, default: []].append(Int(digits) ?? 0)
    }
    #expect(sequences.count == 7)
    #expect(sequences["sensors/pump-001/machine_temperature"]?.sorted() == Array(1...286))
    for list in sequences.values { #expect(list.sorted() == Array(1...list.count)) }
    #expect(counts.keys.reduce(0) { $0 + $1.utf8.count } > 0)
    #expect(
      report.bytes
        == counts.reduce(0) { sum, entry in
          sum + (entry.key.utf8.count - entry.key.prefix { $0 != " " }.utf8.count - 1) * entry.value
        })
  }

  @Test("payloads are filled up to a length, remain one JSON object, and one that is longer stays whole")
  func payloadLength() throws {
    func payloads(_ length: Int?) throws -> [[UInt8]] {
      var plan = SimulationPlan(access: BrokerAccess(host: "127.0.0.1", port: 1))
      plan.series = [try series()]
      plan.payloadBytes = length
      var device = plan.makeDevices()[0]
      return (0..<3).map { _ in
        var payload: [UInt8] = []
        device.next(wall: 1_700_000_000_000, into: &payload)
        return payload
      }
    }
    #expect(try payloads(146).map(\.count) == [146, 146, 146])
    let plain = try payloads(nil)
    let noted = try payloads(1)
    for (plain, noted) in zip(plain, noted) { #expect(plain.dropLast() + Array(",\"note\":\"\"}".utf8) == noted) }
    for (plain, filled) in zip(plain, try payloads(200)) {
      let head = plain.dropLast() + Array(",\"note\":\"".utf8)
      let note = filled.dropFirst(head.count).dropLast(2)
      #expect(filled.starts(with: head) && filled.suffix(2) == Array("\"}".utf8)[...])
      #expect(note.count == 200 - head.count - 2 && !note.contains { "\"\\".utf8.contains($0) })
    }
  }

  @Test("when the broker goes away and comes back, everything is sent again until it is acknowledged")
  func brokerRestarts() async throws {
    let broker = try MosquittoBroker(Self.settings, persistence: true)
    let listener = try Listener(broker)
    var plan = plan(broker)
    plan.devices = 5
    plan.count = 20000
    let simulation = Simulation(plan)
    simulation.start()
    #expect(eventually(within: 20) { listener.lines.count > 500 })
    broker.stop()
    try broker.start()
    let report = try await simulation.finish()
    #expect(report.published == 20000 && report.unacknowledged == 0)
    #expect(report.broker.acknowledged == 20000)
    #expect(report.broker.reconnects == 1)
    let arrived = eventually(within: 30) { Set(listener.lines).count >= 20000 }
    #expect(arrived, "\(Set(listener.lines).count) of 20000 arrived")
    // Nothing came that was not published. (What came twice may also be the listener's own session.)
    #expect(Set(listener.lines).count == 20000)
    // The broker's log is the witness: resent is what it got with the DUP flag.
    let again = broker.log.split(separator: "\n").count {
      $0.contains("Received PUBLISH from forebay-simulate") && $0.contains("(d1,")
    }
    #expect(report.broker.resent == again)
    #expect(again > 0)
  }

  @Test("an interruption ends the publishing and waits for what is on the way")
  func interrupted() async throws {
    let broker = try MosquittoBroker(Self.settings)
    let listener = try Listener(broker)
    var plan = plan(broker)
    plan.devices = 3
    plan.rate = .total(500)
    let simulation = Simulation(plan)
    simulation.start()
    #expect(eventually { listener.lines.count > 20 })
    simulation.interrupt()
    let report = try await simulation.finish()
    #expect(report.interrupted && report.isClean && report.published > 20)
    #expect(listener.counts(of: report.published).count == report.published)
  }

  @Test("at QoS 0 everything is handed over and nothing is acknowledged")
  func qos0() async throws {
    let broker = try MosquittoBroker(Self.settings)
    let listener = try Listener(broker, qos: 0)
    var plan = plan(broker)
    plan.qos = 0
    plan.count = 500
    let report = try await Simulation(plan).run()
    #expect(report.published == 500 && report.broker.acknowledged == 0 && report.isClean)
    #expect(listener.counts(of: 500).count == 500)
  }

  @Test("a broker that is not there, or lets nobody in, is an error that says so")
  func refused() async throws {
    var absent = SimulationPlan(access: BrokerAccess(host: "127.0.0.1", port: try freePort()))
    absent.clients = 2
    absent.devices = 2
    absent.patience = 200_000_000
    do {
      _ = try await Simulation(absent).run()
      Issue.record("nobody listens there")
    } catch let error as SimulationError {
      #expect(
        error == .unreachable("127.0.0.1:\(absent.access.port)", cause: "Connection refused"))
    }
    let broker = try MosquittoBroker("allow_anonymous false")
    do {
      _ = try await Simulation(plan(broker)).run()
      Issue.record("nobody may publish there")
    } catch let error as SimulationError {
      #expect(error == .refused("127.0.0.1:\(broker.port)", cause: "Not authorized"))
    }
  }

  /// What a simulation has said.
  private final class Heard: Sendable {
    private let kept = Mutex<[String]>([])
    var lines: [String] { kept.withLock { $0 } }
    func note(_ line: String) { kept.withLock { $0.append(line) } }
  }

  @Test("a broker that is not there is told once, however many connections try; then that it is there")
  func away() async throws {
    let broker = try MosquittoBroker(Self.settings)
    broker.stop()
    var plan = plan(broker)
    plan.clients = 3
    plan.devices = 3
    plan.count = 30
    plan.patience = 60_000_000_000
    let heard = Heard()
    let simulation = Simulation(plan, notice: heard.note)
    simulation.start()
    let place = "127.0.0.1:\(broker.port)"
    let absent = "cannot connect to \(place): Connection refused; tried again for 1 min"
    #expect(eventually { heard.lines == [absent] })
    try broker.start()
    let report = try await simulation.finish()
    #expect(report.isClean && report.published == 30 && report.failure == nil)
    // A connection may still have found it away when another one was there already.
    #expect(heard.lines.first == absent && heard.lines.last == "connected to \(place)")
  }

  @Test("stopped before the broker was there, it says why nothing was published, and that is no success")
  func stoppedInVain() async throws {
    var plan = SimulationPlan(access: BrokerAccess(host: "127.0.0.1", port: try freePort()))
    plan.count = 3
    plan.patience = 60_000_000_000
    let heard = Heard()
    let simulation = Simulation(plan, notice: heard.note)
    simulation.start()
    #expect(eventually { heard.lines.count == 1 })
    simulation.interrupt()
    let report = try await simulation.finish()
    let failure = "cannot connect to 127.0.0.1:\(plan.access.port): Connection refused"
    #expect(!report.isClean && report.published == 0 && report.failure == failure)
    #expect(report.text.hasSuffix("; " + failure) && report.json.contains("\"failure\":\"\(failure)\""))
  }

  @Test("over TLS, with a client certificate, everything arrives")
  func tls() async throws {
    let certificates = try Certificates()
    let broker = try MosquittoBroker(
      """
      cafile \(certificates.authority)
      certfile \(certificates.server.certificate)
      keyfile \(certificates.server.key)
      require_certificate true
      """)
    var plan = plan(broker)
    plan.access.tls = .init(
      caFile: certificates.authority, certificateFile: certificates.client.certificate,
      keyFile: certificates.client.key)
    plan.count = 3000
    let report = try await Simulation(plan).run()
    #expect(report.broker.acknowledged == 3000 && report.isClean)
    plan.access.tls?.caFile = certificates.otherAuthority
    plan.patience = 500_000_000
    await #expect(throws: SimulationError.self) { _ = try await Simulation(plan).run() }
  }
}
