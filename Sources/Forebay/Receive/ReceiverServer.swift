import Failpoints
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Status
import Synchronization
import Telemetry

/// HTTP/1.1 in front of a ``ReceiverService``: collects requests, bounded, and writes what it says.
final class ReceiverServer: Sendable {
  /// The port that is listened on.
  let port: Int
  private let channel: any Channel
  private let group: MultiThreadedEventLoopGroup
  private let door: ReceiverDoor

  private init(port: Int, channel: any Channel, group: MultiThreadedEventLoopGroup, door: ReceiverDoor) {
    self.port = port
    self.channel = channel
    self.group = group
    self.door = door
  }

  /// Listens. Port 0 means any free port.
  ///
  /// - Parameter tls: nil: without TLS.
  static func start(
    host: String, port: Int, tls: NIOSSLContext?, maximumBytes: Int, service: ReceiverService,
    limits: ReceiverLimits = ReceiverLimits()
  ) async throws -> ReceiverServer {
    let door = ReceiverDoor(context: tls, limits: limits)
    // Two loops: one checks digests while the other reads.
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    do {
      let channel = try await ServerBootstrap(group: group)
        .serverChannelOption(.backlog, value: 256)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let client = ClientAddress.text(channel.remoteAddress)
            guard door.enter(client) else { throw ReceiverDoor.TooMany() }
            channel.closeFuture.whenComplete { _ in door.leave(client) }
            let pipeline = channel.pipeline.syncOperations
            if let tls = door.context { try pipeline.addHandler(NIOSSLServerHandler(context: tls)) }
            try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
            try pipeline.addHandler(ReceiverHandler(service: service, maximumBytes: maximumBytes, limits: limits))
          }
        }
        .bind(host: host, port: port).get()
      return ReceiverServer(port: channel.localAddress?.port ?? port, channel: channel, group: group, door: door)
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
  }

  /// Another certificate, for connections that begin from now on.
  func adopt(_ tls: NIOSSLContext?) { door.context = tls }

  /// Takes no more connections. Those that are open go on.
  func stopListening() async throws { try await channel.close() }

  /// Closes every connection.
  func stop() async throws { try await group.shutdownGracefully() }

  /// TLS with the receiver's certificate chain and key, and, when `clientAuthorities` is given, only
  /// for senders whose certificate those authorities vouch for. All are paths of PEM files.
  static func tls(
    certificate: String, key: String, clientAuthorities: String?
  ) throws -> NIOSSLContext {
    let chain = try NIOSSLCertificate.fromPEMFile(certificate)
    let privateKey = try NIOSSLPrivateKey(file: key, format: .pem)
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(privateKey))
    configuration.minimumTLSVersion = .tlsv12
    configuration.cipherSuites = TransportSecurity.cipherSuites
    if let clientAuthorities {
      configuration.trustRoots = .file(clientAuthorities)
      // A sender has no host name that could be compared.
      configuration.certificateVerification = .noHostnameVerification
    }
    return try NIOSSLContext(configuration: configuration)
  }
}

/// What senders may take of a receiver.
struct ReceiverLimits: Sendable, Hashable {
  /// Connections at once: each may hold a body of the largest size, of senders that have shown a token.
  var connections = 256
  /// Those of one address (of IPv6: one network of 64 bits), so that nobody alone takes the places of all.
  var perClient = 64
  /// Nanoseconds until the head of a request, or the next piece of its body, is there; longer than senders keep
  /// connections that they do not use (30 s).
  var silence: Int64 = 60_000_000_000
}

/// What all connections of a receiver share.
private final class ReceiverDoor: Sendable {
  struct TooMany: Error {}

  private struct State: Sendable {
    var context: NIOSSLContext?
    var open = 0
    var clients: [String: Int] = [:]
  }

  private let state: Mutex<State>
  private let limits: ReceiverLimits

  init(context: NIOSSLContext?, limits: ReceiverLimits) {
    state = Mutex(State(context: context))
    self.limits = limits
  }

  var context: NIOSSLContext? {
    get { state.withLock { $0.context } }
    set { state.withLock { $0.context = newValue } }
  }

  /// Whether there is room for one more of this client.
  func enter(_ client: String) -> Bool {
    state.withLock { state in
      guard state.open < limits.connections, state.clients[client, default: 0] < limits.perClient else { return false }
      state.open += 1
      state.clients[client, default: 0] += 1
      return true
    }
  }

  func leave(_ client: String) {
    state.withLock { state in
      state.open -= 1
      let left = state.clients[client, default: 0] - 1
      state.clients[client] = left > 0 ? left : nil
    }
  }
}

/// One connection. The pipelining handler in front of it lets one request through at a time.
private final class ReceiverHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let service: ReceiverService
  private let maximumBytes: Int
  private let limits: ReceiverLimits
  private var head: HTTPRequestHead?
  private var fields: [String: String] = [:]
  private var body = ByteBuffer()
  private var tooLong = false
  /// Who shows no token: nothing of the body is kept.
  private var isStranger = false
  /// Ends a connection that says nothing; nil while a request is being answered.
  private var silence: Scheduled<Void>?
  /// Whole requests without an answer.
  private var unanswered = 0

  init(service: ReceiverService, maximumBytes: Int, limits: ReceiverLimits) {
    self.service = service
    self.maximumBytes = maximumBytes
    self.limits = limits
  }

  func handlerAdded(context: ChannelHandlerContext) { expectWord(context.channel) }

  func handlerRemoved(context: ChannelHandlerContext) { silence?.cancel() }

  private func answered(_ channel: any Channel) {
    unanswered -= 1
    if unanswered == 0, channel.isActive { expectWord(channel) }
  }

  private func expectWord(_ channel: any Channel) {
    silence?.cancel()
    silence = channel.eventLoop.scheduleTask(in: .nanoseconds(limits.silence)) { channel.close(promise: nil) }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      expectWord(context.channel)
      body = ByteBuffer()
      tooLong = false
      fields = [:]
      for (name, value) in head.headers {
        let name = name.lowercased()
        fields[name] = fields[name].map { "\($0),\(value)" } ?? value
      }
      isStranger = !service.isAuthorised(fields)
      if head.headers.first(name: "Expect")?.lowercased() == "100-continue" {
        let answer = HTTPResponseHead(version: head.version, status: .continue)
        context.writeAndFlush(wrapOutboundOut(.head(answer)), promise: nil)
      }
    case .body(var part):
      // A body that is too long is read to its end, so that the sender gets the answer, and not kept.
      if !isStranger { expectWord(context.channel) }
      if isStranger { break }
      if tooLong || body.readableBytes + part.readableBytes > maximumBytes {
        tooLong = true
        body = ByteBuffer()
      } else {
        body.writeBuffer(&part)
      }
    case .end:
      guard let head else { return }
      silence?.cancel()
      silence = nil
      unanswered += 1
      let request = ReceiverRequest(
        method: head.method.rawValue, fields: fields, body: Array(body.readableBytesView),
        tooLong: tooLong)
      body = ByteBuffer()
      let channel = context.channel
      let keepAlive = head.isKeepAlive
      let own = NIOLoopBound(self, eventLoop: context.eventLoop)
      service.handle(request) { reply in
        ReceiverHandler.write(reply, to: channel, version: head.version, keepAlive: keepAlive)
        if reply != .silence { channel.eventLoop.execute { own.value.answered(channel) } }
      }
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    context.close(promise: nil)
  }

  private static func write(
    _ reply: ReceiverReply, to channel: any Channel, version: HTTPVersion, keepAlive: Bool
  ) {
    switch reply {
    case .silence: return
    case .drop: channel.close(promise: nil)
    case .raw(let text):
      channel.eventLoop.execute {
        // Behind the encoder, which would take nothing but HTTP.
        let encoder = try? channel.pipeline.syncOperations.context(
          handlerType: HTTPResponseEncoder.self)
        encoder?.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
        channel.close(promise: nil)
      }
    case .half(let answer):
      let body = ByteBuffer(string: answer.body)
      let half = body.getSlice(at: 0, length: body.readableBytes / 2) ?? ByteBuffer()
      let head = responseHead(answer, version: version, length: body.readableBytes, keepAlive: true)
      channel.write(HTTPServerResponsePart.head(head), promise: nil)
      channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(half)))
        .whenComplete { _ in channel.close(promise: nil) }
    case .answer(let answer):
      let body = ByteBuffer(string: answer.body)
      let head = responseHead(
        answer, version: version, length: body.readableBytes, keepAlive: keepAlive)
      channel.write(HTTPServerResponsePart.head(head), promise: nil)
      channel.write(HTTPServerResponsePart.body(.byteBuffer(body)), promise: nil)
      let written = channel.writeAndFlush(HTTPServerResponsePart.end(nil))
      #if Failpoints
        written.whenSuccess { Failpoints.answered() }
      #endif
      if !keepAlive { written.whenComplete { _ in channel.close(promise: nil) } }
    }
  }

  private static func responseHead(
    _ answer: ReceiverReply.Answer, version: HTTPVersion, length: Int, keepAlive: Bool
  ) -> HTTPResponseHead {
    var headers = HTTPHeaders()
    headers.add(name: "Content-Type", value: answer.contentType)
    headers.add(name: "Content-Length", value: String(length))
    if !keepAlive { headers.add(name: "Connection", value: "close") }
    for (name, value) in answer.fields.sorted(by: { $0.key < $1.key }) {
      headers.add(name: name, value: value)
    }
    return HTTPResponseHead(
      version: version, status: HTTPResponseStatus(statusCode: answer.status), headers: headers)
  }
}
