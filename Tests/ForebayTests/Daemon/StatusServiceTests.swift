import Logging
import Spool
import Status
import TestSupport
import Testing

@testable import forebay

@Suite("The service that keeps the HTTP API")
struct StatusServiceTests {
  private static func daemon(in directory: TemporaryDirectory) throws -> Daemon {
    let text = """
      gateway: { id: gw }
      sources: { floor: { mqtt: { url: "mqtt://127.0.0.1:1883" } } }
      spool: { directory: "\(directory.file("spool"))", min_free: 1 MiB }
      pipelines: { climate: { from: ["sensors/#"], to: central } }
      uplinks: { central: { file: { directory: "\(directory.file("out"))" } } }
      """
    let configuration = try Configuration.decode(
      Configuration.Origin(path: directory.file("forebay.yaml"), bytes: Array(text.utf8)), shownAs: "test",
      files: .system, toleratesSurroundings: true)
    return try Daemon(configuration, alarm: nil, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  /// What everything that the service begins holds on to.
  private struct Weak {
    weak var source: DaemonSource?
  }

  @Test("leaves nothing behind when it stops, also where it stops while it begins to listen")
  func stopped() async throws {
    let directory = try TemporaryDirectory("service")
    let daemon = try Self.daemon(in: directory)
    defer { daemon.spool.close() }
    var left: [Weak] = []
    for round in 0..<40 {
      let service = StatusService(
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, retry: 1_000_000)
      let source = DaemonSource(daemon: daemon)
      left.append(Weak(source: source))
      var other: LoopbackListener? = try LoopbackListener()
      let port = try #require(other?.port)
      await service.apply(StatusServer.Settings(host: "127.0.0.1", port: port), source: source)
      #expect(service.listen == nil)
      #expect(
        service.fault == "the status API cannot listen: 127.0.0.1:\(port) is taken by another program: "
          + "name another with status.listen; it is tried again")
      other = nil
      // Now it can, at any moment; the rounds end it at different ones.
      for _ in 0..<(round * 20) { await Task.yield() }
      await service.stop()
      #expect(service.listen == nil && service.fault == nil)
    }
    let isGone = try await eventually(within: 20) { () async in left.allSatisfy { $0.source == nil } }
    #expect(isGone, "\(left.count { $0.source != nil }) are held")
  }
}
