internal import Delivery
internal import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOTLS
internal import Telemetry

/// The bounds of one pull.
struct PullLimits: Sendable, Hashable {
  /// Nanoseconds for the connection alone, TLS not included.
  var connect: Int64 = 2_000_000_000
  /// Nanoseconds from the first packet to the last byte of the answer; waiting for room to connect is not in it.
  var total: Int64 = 5_000_000_000
  /// Bytes of the body. A status has at most 8 kB (docs/api.md); eight times that is for versions to come.
  var body = 64 << 10
  /// Bytes of everything before and around the body.
  static let overhead = 16 << 10
}

/// Why there is no answer, or none that counts.
struct PullFailure: Error, Sendable, Hashable {
  enum Kind: Sendable, Hashable {
    /// Nothing that tells how the gateway is.
    case unreachable
    /// Something answers that is not the gateway as it ought to be.
    case invalid
  }
  var kind: Kind
  var reason: String

  init(_ kind: Kind, _ reason: String) {
    self.kind = kind
    self.reason = reason
  }
}

/// What came back, whole and within the bounds.
struct PullAnswer: Sendable, Hashable {
  var status: Int
  var location: String?
  var body: [UInt8]
}

/// Asks one gateway for its status, again and again, over one connection that it keeps where both sides want to.
///
/// A connection of its own for each gateway, and not the pool of async-http-client: a pull is one small request whose
/// deadline, size and connection are bounded in one place, and ten thousand of them cost a few kilobytes each.
///
/// Everything happens on one event loop, so that state needs no lock.
final class GatewayClient: @unchecked Sendable {  // Its variables are touched on `loop` only.
  let target: FleetTarget
  let loop: any EventLoop
  private let limits: PullLimits
  private let tls: NIOSSLContext?
  private let head: HTTPRequestHead
  private let keepsConnection: Bool
  private let handshakes: Handshakes
  private var kept: (channel: any Channel, exchange: StatusExchange)?
  private var current: (channel: any Channel, exchange: StatusExchange)?
  private var isBusy = false
  /// Counts pulls: a connection that comes about too late belongs to none.
  private var pulls = 0
  private var deadline: Scheduled<Void>?
  /// Until the handshake is over.
  private var ticket: Int?
  /// The pull that waits for room to connect.
  private var waiting: EventLoopPromise<PullAnswer>?
  /// When the pull began, or was let in, nanoseconds of the monotonic clock.
  private var begun: Int64 = 0

  /// - Parameters:
  ///   - token: for the `Authorization` field; nil: none.
  ///   - tls: for a target that is encrypted.
  ///   - keepsConnection: between two pulls.
  ///   - handshakes: decides when an encrypted connection is begun.
  init(
    target: FleetTarget, token: Secret?, tls: NIOSSLContext?, limits: PullLimits, keepsConnection: Bool,
    handshakes: Handshakes, loop: any EventLoop
  ) {
    self.target = target
    self.tls = tls
    self.limits = limits
    self.keepsConnection = keepsConnection
    self.handshakes = handshakes
    self.loop = loop
    var fields = HTTPHeaders([
      ("Host", target.authority), ("Accept", "application/json"), ("User-Agent", "forebay/\(Version.current)"),
    ])
    if let token { fields.add(name: "Authorization", value: token.bearer) }
    if !keepsConnection { fields.add(name: "Connection", value: "close") }
    head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "\(target.path)/v1/status", headers: fields)
  }

  /// Asks once. Fails with a ``PullFailure``, at the latest when the time for a pull is over.
  func pull() -> EventLoopFuture<PullAnswer> {
    let answer = loop.makePromise(of: PullAnswer.self)
    loop.execute { [self] in
      guard !isBusy else { return answer.fail(PullFailure(.unreachable, "the pull before is not over yet")) }
      isBusy = true
      pulls += 1
      let promise = loop.makePromise(of: PullAnswer.self)
      promise.futureResult.whenComplete { [self] result in
        deadline?.cancel()
        leaveGate()
        waiting = nil
        took = SystemClock.monotonic() - begun
        isBusy = false
        answer.completeWith(result)
      }
      begin(promise)
      if let kept, kept.channel.isActive {
        self.kept = nil
        ask(kept.channel, kept.exchange, isReused: true, promise)
      } else {
        kept = nil
        enterGate(promise)
      }
    }
    return answer.futureResult
  }

  /// Nanoseconds that the last pull took, without what it waited for room to connect. On ``loop`` only, once it has
  /// ended.
  private(set) var took: Int64 = 0

  /// Ends the connection. A pull that runs fails.
  func close() {
    loop.execute { [self] in
      kept?.channel.drop()
      current?.channel.drop()
      waiting?.fail(PullFailure(.unreachable, "it is not asked any more"))
    }
  }

  // MARK: On the event loop

  /// From here on it has its time.
  private func begin(_ promise: EventLoopPromise<PullAnswer>) {
    begun = SystemClock.monotonic()
    deadline?.cancel()
    deadline = loop.scheduleTask(in: .nanoseconds(limits.total)) { [self] in expire(promise) }
  }

  /// Connects, over TLS as soon as there is room for another handshake.
  private func enterGate(_ promise: EventLoopPromise<PullAnswer>) {
    guard tls != nil else { return connect(promise) }
    deadline?.cancel()
    waiting = promise
    let pull = pulls
    ticket = handshakes.enter { [self] in
      loop.execute { [self] in
        // It may have been closed meanwhile.
        guard isBusy, pull == pulls, waiting != nil else { return }
        waiting = nil
        begin(promise)
        connect(promise)
      }
    }
  }

  private func leaveGate() {
    guard let ticket else { return }
    self.ticket = nil
    handshakes.leave(ticket)
  }

  private func expire(_ promise: EventLoopPromise<PullAnswer>) {
    let seconds = Output.decimal(Double(limits.total) / 1e9, places: 1)
    let came = current?.exchange.received ?? 0
    let what =
      current == nil
      ? "no connection to \(target.place)"
      : came == 0 ? "connected, and no answer" : "only \(Output.count(Int64(came), "byte")) of an answer"
    promise.fail(PullFailure(.unreachable, "\(what) within \(seconds) s"))
    current?.channel.drop()
    current = nil
  }

  private func connect(_ promise: EventLoopPromise<PullAnswer>) {
    let ticket = ticket
    let exchange = StatusExchange(limits: limits, loop: loop) { [weak self] in
      if let self, self.ticket == ticket { self.leaveGate() }
    }
    let bootstrap = ClientBootstrap(group: loop)
      .connectTimeout(.nanoseconds(min(limits.connect, limits.total)))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { [tls, target] channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          if let tls {
            let name = target.certificateName ?? target.host
            // An address is no server name (RFC 6066, section 3): then the certificate is checked for the address.
            let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
            try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : name))
          }
          try pipeline.addHandler(exchange.counter)
          try pipeline.addHTTPClientHandlers(leftOverBytesStrategy: .dropBytes)
          try pipeline.addHandler(exchange)
        }
      }
    let connected: EventLoopFuture<any Channel>
    if let address = try? SocketAddress(ipAddress: target.host, port: target.port) {
      connected = bootstrap.connect(to: address)
    } else {
      connected = bootstrap.connect(host: target.host, port: target.port)
    }
    let pull = pulls
    connected.hop(to: loop).whenComplete { [self] result in
      switch result {
      case .failure(let error): promise.fail(PullFailure(.unreachable, "cannot connect: \(GatewayClient.words(error))"))
      case .success(let channel):
        // The deadline may have come first.
        guard isBusy, pull == pulls else { return channel.drop() }
        if let ticket { handshakes.connected(ticket) }
        ask(channel, exchange, isReused: false, promise)
      }
    }
  }

  private func ask(
    _ channel: any Channel, _ exchange: StatusExchange, isReused: Bool, _ promise: EventLoopPromise<PullAnswer>
  ) {
    current = (channel, exchange)
    let answer = loop.makePromise(of: StatusExchange.Answer.self)
    exchange.begin(answer)
    channel.write(HTTPClientRequestPart.head(head), promise: nil)
    channel.writeAndFlush(HTTPClientRequestPart.end(nil)).whenFailure { exchange.fail($0) }
    answer.futureResult.whenComplete { [self] result in
      // After the deadline nobody waits.
      guard let now = current, now.exchange === exchange else { return channel.drop() }
      current = nil
      switch result {
      case .success(let answer):
        if answer.keepsConnection, keepsConnection, channel.isActive {
          kept = (channel, exchange)
        } else {
          channel.drop()
        }
        promise.succeed(answer.pull)
      case .failure(let error):
        channel.drop()
        // A kept connection may have been ended by the other side just now: that says nothing about the gateway.
        if isReused, exchange.received == 0, !(error is PullFailure) { return enterGate(promise) }
        promise.fail(GatewayClient.failure(error))
      }
    }
  }

  // MARK: Words

  private static func failure(_ error: any Error) -> PullFailure {
    switch error {
    case let failure as PullFailure: return failure
    case is NIOSSLExtraError, is NIOSSLError, is BoringSSLError:
      switch TLSFault(error) {
      case .otherName: return PullFailure(.invalid, "wrong certificate: it is not for this host")
      case .certificate:
        let cause = "no authority that is trusted vouches for it, or it has expired"
        return PullFailure(.invalid, "wrong certificate: \(cause)")
      case .version, .suite, .notTLS: return PullFailure(.invalid, TLSFault(error)?.words ?? "")
      case .refusedUs:
        return PullFailure(.unreachable, "it refuses the TLS connection: does it ask for a client's certificate?")
      case .other, nil:
        return PullFailure(.unreachable, "the TLS connection failed: \(Output.plain("\(error)", limit: 120))")
      }
    case HTTPParserError.invalidEOFState: return PullFailure(.unreachable, "the answer ends in its middle")
    case is HTTPParserError: return PullFailure(.invalid, "what answers is not HTTP")
    default: return PullFailure(.unreachable, "the connection broke: \(words(error))")
    }
  }

  private static func words(_ error: any Error) -> String {
    switch error {
    case let error as IOError: String(cString: strerror(error.errnoCode))
    case let error as NIOConnectionError:
      if let last = error.connectionErrors.last {
        words(last.error)
      } else {
        [error.dnsAError, error.dnsAAAAError].contains { $0 != nil }
          ? "the name \(error.host) was not found" : "no address answers"
      }
    case ChannelError.connectTimeout(let amount):
      "no answer within \(Output.decimal(Double(amount.nanoseconds) / 1e9, places: 1)) s"
    case is ChannelError: "it was closed"
    default: Output.plain("\(error)", limit: 120)
    }
  }
}

/// The HTTP side of one connection: one request at a time, bounded. On the connection's event loop only.
final class StatusExchange: ChannelInboundHandler, @unchecked Sendable {  // Confined to its channel's event loop.
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundOut = HTTPClientRequestPart

  struct Answer: Sendable {
    var pull: PullAnswer
    var keepsConnection: Bool
  }

  /// Counts in front of the parser, so that headers, chunk sizes and interim answers without end are bounded, too.
  final class Counter: ChannelInboundHandler, @unchecked Sendable {  // Confined to its channel's event loop.
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    fileprivate(set) var count = 0
    fileprivate weak var exchange: StatusExchange?
    private let limit: Int

    fileprivate init(limit: Int) { self.limit = limit }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      count += unwrapInboundIn(data).readableBytes
      guard count <= limit else {
        exchange?.overflow()
        return context.channel.drop()
      }
      context.fireChannelRead(data)
    }
  }

  let counter: Counter
  private let limits: PullLimits
  private var promise: EventLoopPromise<Answer>?
  private var head: HTTPResponseHead?
  private var body: [UInt8] = []

  private let secured: () -> Void

  /// - Parameter secured: called when the handshake is over.
  init(limits: PullLimits, loop: any EventLoop, secured: @escaping () -> Void) {
    self.limits = limits
    self.secured = secured
    counter = Counter(limit: limits.body + PullLimits.overhead)
    counter.exchange = self
  }

  /// Bytes of the answer that have come.
  var received: Int { counter.count }

  func begin(_ promise: EventLoopPromise<Answer>) {
    self.promise = promise
    counter.count = 0
    head = nil
    body = []
  }

  func fail(_ error: any Error) {
    let waiting = promise
    promise = nil
    waiting?.fail(error)
  }

  fileprivate func overflow() {
    fail(PullFailure(.invalid, "the answer has more than \(limits.body >> 10) KiB; a status has at most 8"))
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard promise != nil else { return context.channel.drop() }
    switch unwrapInboundIn(data) {
    case .head(let head):
      // An interim answer (RFC 9110, section 15.2) is followed by the real one.
      if head.status.code >= 200 { self.head = head }
    case .body(let part):
      guard body.count + part.readableBytes <= limits.body else {
        overflow()
        return context.channel.drop()
      }
      body += part.readableBytesView
    case .end:
      guard let head else { return }
      let waiting = promise
      promise = nil
      let answer = PullAnswer(
        status: Int(head.status.code), location: head.headers.first(name: "Location"), body: body)
      body = []
      waiting?.succeed(Answer(pull: answer, keepsConnection: head.isKeepAlive))
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .handshakeCompleted? = event as? TLSUserEvent { secured() }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    fail(ChannelError.eof)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    fail(error)
    context.channel.drop()
  }
}

extension Channel {
  /// Ends the connection at once. Over TLS a close waits for the other side's farewell (5 s), and one that lies goes
  /// on sending meanwhile. On the channel's event loop only.
  fileprivate func drop() {
    if let tls = try? pipeline.syncOperations.context(handlerType: NIOSSLClientHandler.self) {
      tls.close(promise: nil)
    } else {
      close(promise: nil)
    }
  }
}
