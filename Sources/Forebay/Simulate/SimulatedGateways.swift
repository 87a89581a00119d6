import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
internal import Spool

/// What a simulated gateway does when it is asked for its status.
enum GatewayBehaviour: String, Sendable, CaseIterable {
  case well
  /// Nobody listens at its port.
  case dead
  /// Its packets get lost: the connection never comes about.
  case lost
  /// Takes the request and never answers.
  case silent
  /// One byte a second.
  case drip
  /// A body that never ends.
  case endless
  /// A header that never ends.
  case headers
  case wrongJSON = "wrong-json"
  /// JSON that is no status.
  case otherJSON = "other-json"
  /// The id of the gateway before it.
  case wrongID = "wrong-id"
  case error
  /// The body is shorter than its head says.
  case broken
  /// What answers is not HTTP.
  case garbage
  /// A certificate that nobody vouches for.
  case wrongCertificate = "wrong-certificate"

  var isFaulty: Bool { self != .well }
}

/// Many gateways behind one port, told apart by the path, `/gw-00042/v1/status`; those that are to be missed by
/// connections have ports of their own.
final class SimulatedGateways: Sendable {
  struct Plan: Sendable {
    var count: Int
    /// One gateway of so many is faulty; 0: none.
    var faultyEvery: Int
    /// Those that faulty gateways take in turn.
    var faults: [GatewayBehaviour]

    func behaviour(of index: Int) -> GatewayBehaviour {
      guard faultyEvery > 0, !faults.isEmpty, index % faultyEvery == 0 else { return .well }
      return faults[index / faultyEvery % faults.count]
    }

    static func name(_ index: Int) -> String {
      let digits = String(index)
      return "gw-" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
  }

  let plan: Plan
  private let group: MultiThreadedEventLoopGroup
  /// Where the gateways answer, `host:port`.
  let address: ListenAddress
  private let wrongAddress: ListenAddress?
  private let deadPort: Int
  private let lostPort: Int
  private let isEncrypted: Bool

  /// Listens.
  /// - Parameters:
  ///   - tls: nil: without TLS.
  ///   - wrong: what gateways with a wrong certificate show.
  init(_ plan: Plan, on address: ListenAddress, tls: NIOSSLContext?, wrong: NIOSSLContext?) async throws {
    self.plan = plan
    isEncrypted = tls != nil
    group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    do {
      self.address = try await SimulatedGateways.listen(on: address, tls: tls, plan: plan, group: group)
      if let wrong {
        var other = address
        other.port = 0
        wrongAddress = try await SimulatedGateways.listen(on: other, tls: wrong, plan: plan, group: group)
      } else {
        wrongAddress = nil
      }
      deadPort = try await SimulatedGateways.port(listens: false, group: group)
      lostPort = try await SimulatedGateways.port(listens: true, group: group)
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
  }

  func stop() async { try? await group.shutdownGracefully() }

  private static func listen(
    on address: ListenAddress, tls: NIOSSLContext?, plan: Plan, group: MultiThreadedEventLoopGroup
  ) async throws -> ListenAddress {
    let channel = try await ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 4096)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls)) }
          try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
          try pipeline.addHandler(SimulatedGatewayHandler(plan: plan))
        }
      }
      .bind(host: address.host, port: address.port).get()
    var bound = address
    bound.port = channel.localAddress?.port ?? address.port
    return bound
  }

  /// A port of 127.0.0.1 on which nobody listens; or on which somebody does who never accepts and whose queue is full
  /// after a connection, so that the kernel drops the packets of all others.
  private static func port(listens: Bool, group: MultiThreadedEventLoopGroup) async throws -> Int {
    let channel = try await ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 0)
      .serverChannelOption(.autoRead, value: false)
      .bind(host: "127.0.0.1", port: 0).get()
    let port = channel.localAddress?.port ?? 0
    if !listens { try await channel.close() }
    return port
  }

  /// One line a gateway, as `forebay fleet` reads it.
  var inventory: String {
    let scheme = isEncrypted ? "https" : "http"
    var out = ""
    for index in 0..<plan.count {
      let name = Plan.name(index)
      let behaviour = plan.behaviour(of: index)
      var place = "\(address)"
      switch behaviour {
      case .dead: place = "127.0.0.1:\(deadPort)"
      case .lost: place = "127.0.0.1:\(lostPort)"
      case .wrongCertificate: place = "\(wrongAddress ?? address)"
      default: break
      }
      out += "\(scheme)://\(place)/\(name) name=\(name) site=plant-\(index / 100) behaviour=\(behaviour.rawValue)\n"
    }
    return out
  }
}

/// One connection of one gateway.
private final class SimulatedGatewayHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let plan: SimulatedGateways.Plan
  private var uri: String?
  private var answers: Int64 = 0
  private var isActive = true

  init(plan: SimulatedGateways.Plan) { self.plan = plan }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): uri = head.uri
    case .body: break
    case .end: if let uri { answer(uri, context) }
    }
  }

  func channelInactive(context: ChannelHandlerContext) { isActive = false }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func answer(_ uri: String, _ context: ChannelHandlerContext) {
    let parts = uri.split(separator: "/")
    guard parts.count == 3, parts[1...] == ["v1", "status"], parts[0].hasPrefix("gw-"),
      let index = Int(parts[0].dropFirst(3)), (0..<plan.count).contains(index)
    else { return write(.notFound, #"{"title":"Not Found"}"#, context) }
    answers += 1
    switch plan.behaviour(of: index) {
    case .well, .dead, .lost, .wrongCertificate: write(.ok, SimulatedStatus.text(of: index, answers: answers), context)
    case .silent: break
    case .drip: drip(context)
    case .endless: endless(context)
    case .headers: endlessHeaders(context)
    case .wrongJSON: write(.ok, String(SimulatedStatus.text(of: index, answers: answers).dropLast(40)), context)
    case .otherJSON: write(.ok, #"{"version":1,"gateway":"gw","state":7}"#, context)
    case .wrongID: write(.ok, SimulatedStatus.text(of: max(0, index - 1), answers: answers), context)
    case .error: write(.serviceUnavailable, #"{"title":"Service Unavailable"}"#, context)
    case .broken:
      head(context, length: 9_000)
      context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "{\"version\":1,")))))
        .whenComplete { [channel = context.channel] _ in channel.close(promise: nil) }
    case .garbage: raw("220 mail.example ESMTP\r\n", context)
    }
  }

  private func head(_ context: ChannelHandlerContext, _ status: HTTPResponseStatus = .ok, length: Int?) {
    var fields = HTTPHeaders([("Content-Type", "application/json")])
    if let length { fields.add(name: "Content-Length", value: String(length)) }
    context.write(
      wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: fields))), promise: nil)
  }

  private func write(_ status: HTTPResponseStatus, _ text: String, _ context: ChannelHandlerContext) {
    let body = ByteBuffer(string: text)
    head(context, status, length: body.readableBytes)
    context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
  }

  private func raw(_ text: String, _ context: ChannelHandlerContext) {
    // Behind the encoder, which would take nothing but HTTP.
    let encoder = try? context.pipeline.syncOperations.context(handlerType: HTTPResponseEncoder.self)
    encoder?.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
  }

  private func drip(_ context: ChannelHandlerContext) {
    head(context, length: 4_000)
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    context.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .seconds(1)) { task in
      let (handler, context) = bound.value
      guard handler.isActive else { return task.cancel() }
      context.writeAndFlush(handler.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: " ")))), promise: nil)
    }
  }

  private func endless(_ context: ChannelHandlerContext) {
    head(context, length: nil)
    pour(context) { handler, context in
      context.writeAndFlush(
        handler.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(repeating: UInt8(ascii: " "), count: 16 << 10)))))
    }
  }

  private func endlessHeaders(_ context: ChannelHandlerContext) {
    raw("HTTP/1.1 200 OK\r\n", context)
    pour(context) { handler, context in
      let promise = context.eventLoop.makePromise(of: Void.self)
      let encoder = try? context.pipeline.syncOperations.context(handlerType: HTTPResponseEncoder.self)
      let field = ByteBuffer(string: "X-Filler: " + String(repeating: "x", count: 1_000) + "\r\n")
      if let encoder { encoder.writeAndFlush(NIOAny(field), promise: promise) } else { promise.succeed() }
      return promise.futureResult
    }
  }

  /// Writes again and again, as fast as it is taken.
  private func pour(
    _ context: ChannelHandlerContext,
    _ write: @escaping (SimulatedGatewayHandler, ChannelHandlerContext) -> EventLoopFuture<Void>
  ) {
    guard isActive else { return }
    let bound = NIOLoopBound((self, context, write), eventLoop: context.eventLoop)
    write(self, context).whenSuccess {
      // Not at once: a socket that takes everything would keep the loop from all others.
      bound.value.1.eventLoop.execute {
        let (handler, context, write) = bound.value
        handler.pour(context, write)
      }
    }
  }
}

/// The status of a made-up gateway: of 50, one is critical, five have a ticket, all others are well.
enum SimulatedStatus {
  static func text(of index: Int, answers: Int64) -> String {
    let name = SimulatedGateways.Plan.name(index)
    let isCritical = index % 50 == 9
    let isWarning = !isCritical && index % 10 == 7
    let state = isCritical ? "critical" : isWarning ? "warning" : "ok"
    var alarms: [String] = []
    if isCritical {
      // In the words of a gateway that is short of disk.
      var gauge = SpaceGauge(maximum: 8 << 30, minimumFree: 1 << 30)
      gauge.update(used: 10 << 20, free: 12 << 20)
      alarms.append(alarm("parked", "", "page", gauge.parked ?? ""))
    }
    if isWarning { alarms.append(alarm("clock", "", "ticket", "the clock is not synchronised: look at timedatectl")) }
    let received = 1_000_000 + answers * 150
    return """
      {"version":1,"gateway":"\(name)","site":"plant-\(index / 100)","software":"\(Version.current)",\
      "time":"\(Output.time(SystemClock.wall()))","state":"\(state)","uptimeSeconds":\(answers * 15),\
      "clockSynchronised":\(!isWarning),\
      "alarms":{"page":\(isCritical ? 1 : 0),"ticket":\(isWarning ? 1 : 0),"list":\(CompactJSON.array(alarms))},\
      "objectives":[{"name":"freshness","state":"ok","target":0.99,"measured":0.998,"budgetRemaining":0.8,\
      "burnRate1h":0.1,"burnRate6h":0.1},{"name":"delivery","state":"ok","target":0.999,"measured":1,\
      "budgetRemaining":1,"burnRate1h":0,"burnRate6h":0}],\
      "freshnessSeconds":\(isCritical ? 5_400 : 1),"messages":{"received":\(received),"perSecond":10},\
      "readings":{"delivered":\(received - 10),"duplicate":1,"refused":0,"late":0},\
      "backlog":{"messages":\(isCritical ? 54_000 : 3),"seconds":0.4},\
      "outbox":{"batches":1,"readings":7,"bytes":900,"oldestSeconds":0.6},\
      "deadLetters":{"count":\(index % 7),"bytes":\(index % 7 * 200),"expired":0},\
      "disk":{"usedBytes":10485760,"maximumBytes":8589934592,"freeBytes":\(Int64(isCritical ? 12 << 20 : 16 << 30)),\
      "minimumFreeBytes":1073741824,"parked":\(isCritical),"writtenBytes":\(received * 150)},\
      "cost":{"payloadBytes":\(received * 200),"writtenBytes":\(received * 150),"sentBytes":\(received * 40)},\
      "process":{"residentBytes":33554432,"cpuSeconds":\(answers)},\
      "sources":{"total":1,"list":[{"name":"floor","state":"connected","messages":\(received)}]},\
      "pipelines":{"total":1,"list":[{"name":"climate","backlog":3,"outboxReadings":7,"oldestSeconds":0.6,\
      "delivered":\(received - 10),"deadLetters":\(index % 7),"freshnessSeconds":1}]},\
      "uplinks":{"total":1,"list":[{"name":"central","state":"idle","failingSeconds":null,\
      "delivered":\(received - 10)}]}}
      """
  }

  private static func alarm(_ kind: String, _ subject: String, _ severity: String, _ text: String) -> String {
    CompactJSON.object { out in
      out.add("kind", kind)
      out.add("subject", subject)
      out.add("severity", severity)
      out.add("text", text)
      out.add("since", "2026-11-21T16:00:00Z")
      out.add("runbook", "/usr/share/doc/forebay/operations.md#\(kind)")
    }
  }
}
