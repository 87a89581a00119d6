import Glibc
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// An HTTP/1.1 server on a free port of 127.0.0.1 that answers as its script says, in every wrong way
/// there is, and records what it was asked. Also a CONNECT proxy (``Reply/tunnel``).
package final class FaultyUpstream: Sendable {
  package struct Request: Sendable {
    package var method: String
    package var target: String
    package var fields: [(name: String, value: String)]
    package var body: [UInt8]
    /// Of the connection that it came on, counted from 0.
    package var connection: Int

    /// The value of a header field, by its name in any case.
    package subscript(name: String) -> String? {
      fields.first { $0.name.lowercased() == name.lowercased() }?.value
    }
  }

  package enum Reply: Sendable {
    case answer(Int, fields: [(String, String)] = [], body: String = "")
    /// A 2xx that echoes identity and digest of the request.
    case receipt
    /// As ``answer``, before the request's body has been read, and then the connection is closed.
    case early(Int)
    /// The connection stays open and silent.
    case never
    case close
    /// Half of an answer, and then the end of the connection.
    case closeHalfway(Int)
    /// Half of an answer, and then silence.
    case stallHalfway(Int)
    /// These bytes, and then the end of the connection.
    case raw(String)
    /// A 2xx whose body never ends.
    case endless
    /// What a proxy does with CONNECT.
    case tunnel
  }

  /// PEM files. `clientAuthorityFile`: the client must show a certificate that this authority signed.
  package struct TLS: Sendable {
    package var certificateFile: String
    package var keyFile: String
    package var clientAuthorityFile: String?

    package init(certificateFile: String, keyFile: String, clientAuthorityFile: String? = nil) {
      self.certificateFile = certificateFile
      self.keyFile = keyFile
      self.clientAuthorityFile = clientAuthorityFile
    }

    fileprivate func context() throws -> NIOSSLContext {
      var configuration = TLSConfiguration.makeServerConfiguration(
        certificateChain: try NIOSSLCertificate.fromPEMFile(certificateFile).map { .certificate($0) },
        privateKey: .privateKey(try NIOSSLPrivateKey(file: keyFile, format: .pem)))
      if let clientAuthorityFile {
        configuration.certificateVerification = .noHostnameVerification
        configuration.trustRoots = .file(clientAuthorityFile)
      }
      return try NIOSSLContext(configuration: configuration)
    }
  }

  /// The reply to a request; `number` counts all requests from 0.
  package typealias Script = @Sendable (_ request: Request, _ number: Int) -> Reply

  private struct State {
    var requests: [Request] = []
    var connections: [ObjectIdentifier: any Channel] = [:]
    var accepted = 0
    var script: Script
  }

  package let port: Int
  private let state: Mutex<State>
  private let listener: any Channel

  /// - Parameters:
  ///   - port: 0: any free one.
  ///   - readsBodies: whether a request's body is waited for; for ``Reply/early(_:)`` it is not.
  package init(port: Int = 0, tls: TLS? = nil, readsBodies: Bool = true, script: @escaping Script) async throws {
    let context = try tls.map { try $0.context() }
    let box = Box()
    listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let context {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
          }
          try channel.pipeline.syncOperations.addHandler(Connection(server: box.server, readsBodies: readsBodies))
        }
      }
      .bind(host: "127.0.0.1", port: port).get()
    self.port = listener.localAddress?.port ?? 0
    state = Mutex(State(script: script))
    box.set(self)
  }

  package func url(_ scheme: String = "http", host: String = "127.0.0.1", path: String = "/v1/batches") -> String {
    "\(scheme)://\(host):\(port)\(path)"
  }

  package var requests: [Request] { state.withLock { $0.requests } }

  /// From the next request on.
  package func follow(_ script: @escaping Script) { state.withLock { $0.script = script } }

  /// Closes the port and every connection.
  package func shutdown() async {
    try? await listener.close().get()
    let connections = state.withLock { Array($0.connections.values) }
    for channel in connections { try? await channel.close().get() }
  }

  fileprivate func reply(to request: Request) -> Reply {
    let (script, number) = state.withLock { state in
      state.requests.append(request)
      return (state.script, state.requests.count - 1)
    }
    return script(request, number)
  }

  fileprivate func accepted(_ channel: any Channel) -> Int {
    state.withLock { state in
      state.connections[ObjectIdentifier(channel)] = channel
      state.accepted += 1
      return state.accepted - 1
    }
  }

  fileprivate func ended(_ channel: any Channel) {
    state.withLock { $0.connections[ObjectIdentifier(channel)] = nil }
  }

  /// Lets the bootstrap, which is there before the server is, find it.
  private final class Box: Sendable {
    private let held = Mutex<FaultyUpstream?>(nil)
    var server: FaultyUpstream? { held.withLock { $0 } }
    func set(_ server: FaultyUpstream) { held.withLock { $0 = server } }
  }
}

/// A port of 127.0.0.1 on which nobody listens, and nobody else can while this is there.
package final class ClosedPort: Sendable {
  package let port: Int
  private let descriptor: CInt

  package init() throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
        bind(descriptor, generic, size) == 0 && getsockname(descriptor, generic, &size) == 0
      }
    }
    self.descriptor = descriptor
    port = Int(UInt16(bigEndian: address.sin_port))
    guard bound else { throw POSIXFailure("bind", "127.0.0.1") }
  }

  deinit { close(descriptor) }
}

/// One connection: reads requests and writes replies.
private final class Connection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private weak var server: FaultyUpstream?
  private var received: [UInt8] = []
  private var number = 0
  /// After this nothing is read any more.
  private var isDeaf = false
  /// The other end of a tunnel.
  private var peer: (any Channel)?

  private let readsBodies: Bool

  init(server: FaultyUpstream?, readsBodies: Bool) {
    self.server = server
    self.readsBodies = readsBodies
  }

  func channelActive(context: ChannelHandlerContext) {
    number = server?.accepted(context.channel) ?? 0
  }

  func channelInactive(context: ChannelHandlerContext) {
    server?.ended(context.channel)
    peer?.close(promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    if let peer { return peer.writeAndFlush(buffer, promise: nil) }
    guard !isDeaf else { return }
    received += buffer.readableBytesView
    while !isDeaf, let request = nextRequest() {
      guard let server else { return context.close(promise: nil) }
      perform(server.reply(to: request), request, context)
    }
  }

  /// A request that is whole, or whose head is, where bodies are not waited for.
  private func nextRequest() -> FaultyUpstream.Request? {
    guard let end = headEnd else { return nil }
    let lines = String(decoding: received[..<end], as: UTF8.self).split(separator: "\r\n")
    let words = lines.first?.split(separator: " ") ?? []
    guard words.count == 3 else { return nil }
    var request = FaultyUpstream.Request(
      method: String(words[0]), target: String(words[1]), fields: [], body: [], connection: number)
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      let value = line[line.index(after: colon)...].drop { $0 == " " }
      request.fields.append((String(line[..<colon]), String(value)))
    }
    let length = request["Content-Length"].flatMap(Int.init) ?? 0
    guard received.count >= end + 4 + length || !readsBodies else { return nil }
    let bodyEnd = min(received.count, end + 4 + length)
    request.body = Array(received[(end + 4)..<bodyEnd])
    received.removeSubrange(..<bodyEnd)
    return request
  }

  private var headEnd: Int? {
    guard received.count >= 4 else { return nil }
    return (0...(received.count - 4)).first { i in
      received[i] == 13 && received[i + 1] == 10 && received[i + 2] == 13 && received[i + 3] == 10
    }
  }

  private func perform(
    _ reply: FaultyUpstream.Reply, _ request: FaultyUpstream.Request, _ context: ChannelHandlerContext
  ) {
    switch reply {
    case .answer(let status, let fields, let body):
      write(answer(status, fields, body), context)
    case .receipt:
      let identity = (request["Idempotency-Key"] ?? "").filter { $0 != "\"" }
      let digest = request["Forebay-Digest"] ?? ""
      write(answer(200, [], #"{"identity":"\#(identity)","digest":"\#(digest)"}"#), context)
    case .early(let status):
      isDeaf = true
      write(answer(status, [("Connection", "close")], ""), context, close: true)
    case .never: isDeaf = true
    case .close: context.close(promise: nil)
    case .closeHalfway(let status):
      write("HTTP/1.1 \(status) X\r\nContent-Length: 1000\r\n\r\n{\"identity\"", context, close: true)
    case .stallHalfway(let status):
      isDeaf = true
      write("HTTP/1.1 \(status) X\r\nContent-Length: 1000\r\n\r\n{\"identity\"", context)
    case .raw(let text): write(text, context, close: true)
    case .endless:
      isDeaf = true
      write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", context)
      writeChunks(to: context.channel)
    case .tunnel: tunnel(to: request.target, context)
    }
  }

  private func answer(_ status: Int, _ fields: [(String, String)], _ body: String) -> String {
    let lines = fields.map { "\($0.0): \($0.1)\r\n" }.joined()
    return "HTTP/1.1 \(status) X\r\n\(lines)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  private func write(_ text: String, _ context: ChannelHandlerContext, close: Bool = false) {
    let channel = context.channel
    let written = channel.writeAndFlush(ByteBuffer(string: text))
    if close {
      isDeaf = true
      written.whenComplete { _ in channel.close(promise: nil) }
    }
  }

  /// Until the other side closes.
  private func writeChunks(to channel: any Channel) {
    let chunk = ByteBuffer(string: "1000\r\n\(String(repeating: "x", count: 4096))\r\n")
    channel.writeAndFlush(chunk).assumeIsolated().whenSuccess { self.writeChunks(to: channel) }
  }

  private func tunnel(to target: String, _ context: ChannelHandlerContext) {
    let channel = context.channel
    guard let colon = target.lastIndex(of: ":"), let port = Int(target[target.index(after: colon)...])
    else { return context.close(promise: nil) }
    let connecting = ClientBootstrap(group: channel.eventLoop)
      .channelInitializer { other in
        other.eventLoop.makeCompletedFuture {
          try other.pipeline.syncOperations.addHandler(Relay(to: channel))
        }
      }
      .connect(host: String(target[..<colon]), port: port)
    connecting.assumeIsolated().whenComplete { result in
      switch result {
      case .success(let other):
        self.peer = other
        channel.writeAndFlush(ByteBuffer(string: "HTTP/1.1 200 Connected\r\n\r\n"), promise: nil)
      case .failure: channel.close(promise: nil)
      }
    }
  }
}

/// Hands what it reads to another channel.
private final class Relay: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  private let other: any Channel

  init(to other: any Channel) { self.other = other }
  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    other.writeAndFlush(unwrapInboundIn(data), promise: nil)
  }
  func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
}
