internal import Logging
internal import Status

/// The fleet as its HTTP server asks it: the server is that of a gateway's status, with its bounds, its deadlines and
/// its access rules.
///
/// A page of ten thousand gateways has megabytes and takes a moment to write: it is written once in a while, however
/// many ask.
actor FleetSource: StatusSource {
  private struct Page {
    var bytes: [UInt8]
    /// Monotonic nanoseconds.
    var written: Int64
  }

  /// Nanoseconds for which a page is the answer: short against the interval in which gateways are asked.
  private static let shared: Int64 = 1_000_000_000

  private let board: @Sendable () -> FleetBoard
  private var metricsPage: Page?
  private var document: Page?

  /// - Parameter board: called when a page is written.
  init(board: @escaping @Sendable () -> FleetBoard) { self.board = board }

  func answer(_ question: StatusQuestion) async throws(StatusFault) -> [UInt8]? {
    guard question == .fleet else { return nil }
    do {
      return try FleetSource.fresh(&document) {
        Array(try Output.json(FleetDocument(board(), at: SystemClock.wall()), pretty: false).utf8)
      }
    } catch {
      throw StatusFault(.unavailable, "the document cannot be written")
    }
  }

  func perform(_ action: StatusAction, for caller: Caller) async throws(StatusFault) -> [UInt8] {
    throw StatusFault(.unknown, "a fleet is only looked at")
  }

  func metrics() async -> [UInt8]? {
    FleetSource.fresh(&metricsPage) { FleetMetrics.page(board(), at: SystemClock.wall()) }
  }

  func health() async -> StatusHealth { StatusHealth(isAlive: true, notReady: []) }

  private static func fresh(_ page: inout Page?, _ write: () throws -> [UInt8]) rethrows -> [UInt8] {
    let now = SystemClock.monotonic()
    if let page, now - page.written < shared { return page.bytes }
    let bytes = try write()
    page = Page(bytes: bytes, written: SystemClock.monotonic())
    return bytes
  }
}

/// The pages over HTTP.
enum FleetServer {
  /// Connections at one time: scrapers and a few people. Each may hold a page of megabytes that is not taken.
  private static let mostConnections = 16

  /// Listens.
  /// - Parameter board: called when a page is written.
  /// - Returns: the server and its port.
  /// - Throws: which file cannot be used, or why it cannot listen.
  static func start(
    _ settings: StatusServer.Settings, board: @escaping @Sendable () -> FleetBoard
  ) async throws -> (server: StatusServer, port: Int) {
    if let path = settings.tokensFile {
      do {
        _ = try AccessTokenFile(try GivenFile.read(path, limit: AccessTokenFile.maximumBytes))
      } catch let error as AccessTokenFile.Fault {
        throw UnusableInput(place: path, reason: "\(error)")
      } catch let error as GivenFile.Fault {
        throw UnusableInput(place: path, reason: "cannot be read: \(error.reason)")
      }
    }
    var settings = settings
    settings.maximumConnections = mostConnections
    let server: StatusServer
    do {
      server = try StatusServer(
        settings, .fleet, source: FleetSource(board: board),
        logger: Logger(label: "fleet", factory: { _ in SwiftLogNoOpLogHandler() }), wall: SystemClock.wall,
        monotonic: SystemClock.monotonic)
    } catch {
      throw UnusableInput(place: "--serve", reason: error.description)
    }
    do {
      return (server, try await server.start())
    } catch {
      let address = ListenAddress(host: settings.host, port: settings.port)
      throw UnusableInput(place: "\(address)", reason: address.obstacle(error, option: "--serve"))
    }
  }
}
