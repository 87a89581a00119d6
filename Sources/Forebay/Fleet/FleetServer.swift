import NIOCore
import NIOHTTP1
import NIOPosix
import Telemetry

/// Serves the fleet's pages over HTTP/1.1: `/metrics`, `/v1/fleet` and `/healthz`.
final class FleetServer: Sendable {
  /// The port that is listened on.
  let port: Int
  private let channel: any Channel
  private let group: MultiThreadedEventLoopGroup

  /// Seconds after which a connection that says nothing is ended.
  private static let patience: Int64 = 75

  private init(port: Int, channel: any Channel, group: MultiThreadedEventLoopGroup) {
    self.port = port
    self.channel = channel
    self.group = group
  }

  /// Listens. Port 0 means any free port.
  /// - Parameters:
  ///   - token: what who asks must present; nil: nothing.
  ///   - board: called for each request.
  static func start(
    on address: ListenAddress, token: Secret?, board: @escaping @Sendable () -> FleetBoard
  ) async throws -> FleetServer {
    // A loop of its own: a page of ten thousand gateways takes a while to write, and pulls go on meanwhile.
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    do {
      let channel = try await ServerBootstrap(group: group)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(IdleStateHandler(readTimeout: .seconds(patience)))
            try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
            try pipeline.addHandler(FleetPageHandler(token: token, board: board))
          }
        }
        .bind(host: address.host, port: address.port).get()
      return FleetServer(port: channel.localAddress?.port ?? address.port, channel: channel, group: group)
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
  }

  func stop() async {
    try? await channel.close()
    try? await group.shutdownGracefully()
  }
}

/// One connection. The pipelining handler in front of it lets one request through at a time.
private final class FleetPageHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let token: Secret?
  private let board: @Sendable () -> FleetBoard
  private var head: HTTPRequestHead?

  init(token: Secret?, board: @escaping @Sendable () -> FleetBoard) {
    self.token = token
    self.board = board
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body: break
    case .end:
      guard let head else { return }
      self.head = nil
      let page = answer(to: head)
      let body = context.channel.allocator.buffer(string: page.body)
      var fields = HTTPHeaders([("Content-Type", page.type), ("Content-Length", String(body.readableBytes))])
      if page.status == .unauthorized { fields.add(name: "WWW-Authenticate", value: "Bearer") }
      if page.status == .methodNotAllowed { fields.add(name: "Allow", value: "GET, HEAD") }
      if !head.isKeepAlive { fields.add(name: "Connection", value: "close") }
      let response = HTTPResponseHead(version: head.version, status: page.status, headers: fields)
      context.write(wrapOutboundOut(.head(response)), promise: nil)
      if head.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
      let channel = context.channel
      let isLast = !head.isKeepAlive
      context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in
        if isLast { channel.close(promise: nil) }
      }
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is IdleStateHandler.IdleStateEvent { return context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private struct Page {
    var status: HTTPResponseStatus
    var type: String
    var body: String

    static func problem(_ status: HTTPResponseStatus, _ detail: String) -> Page {
      let body = CompactJSON.object { out in
        out.add("type", "about:blank")
        out.add("title", status.reasonPhrase)
        out.add("status", Int(status.code))
        out.add("detail", detail)
      }
      return Page(status: status, type: "application/problem+json", body: body + "\n")
    }
  }

  /// By digests: how long the comparison takes tells nothing about the token.
  private static func isSame(_ given: String, _ wanted: String) -> Bool {
    Digest(of: Array(given.utf8)) == Digest(of: Array(wanted.utf8))
  }

  private func answer(to head: HTTPRequestHead) -> Page {
    let path = head.uri.prefix { $0 != "?" }
    guard head.method == .GET || head.method == .HEAD else {
      return .problem(.methodNotAllowed, "pages are read only")
    }
    if path == "/healthz" { return Page(status: .ok, type: "text/plain; charset=utf-8", body: "ok\n") }
    if let token, !FleetPageHandler.isSame(head.headers.first(name: "Authorization") ?? "", token.bearer) {
      return .problem(.unauthorized, "the bearer token is missing or wrong")
    }
    switch path {
    case "/metrics":
      return Page(
        status: .ok, type: "text/plain; version=0.0.4; charset=utf-8",
        body: FleetMetrics.text(board(), at: SystemClock.wall()))
    case "/v1/fleet":
      guard let body = try? Output.json(FleetDocument(board(), at: SystemClock.wall()), pretty: false) else {
        return .problem(.internalServerError, "the document cannot be written")
      }
      return Page(status: .ok, type: "application/json", body: body + "\n")
    default: return .problem(.notFound, "there are /metrics, /v1/fleet and /healthz")
    }
  }
}
