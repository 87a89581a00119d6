internal import HTTPTypes
internal import HummingbirdCore
internal import NIOCore

/// Answers one request after the other: who it is from, whether it may, what it asks, and the answer with the headers
/// that every answer has.
struct StatusResponder: Sendable {
  /// Of a request's body: orders are a few hundred bytes.
  static let maximumBody = 16_384

  let source: any StatusSource
  let routes: [Route]
  /// By path.
  let assets: [String: PageAsset]
  let gate: RequestGate
  let hub: EventHub
  /// Wall nanoseconds.
  let wall: @Sendable () -> Int64

  @Sendable
  func respond(_ request: Request, _ writer: consuming ResponseWriter, _ channel: any Channel) async throws {
    var reply: Route.Reply
    var headers = HTTPFields()
    var policy = "default-src 'none'; frame-ancestors 'none'"
    headers[.cacheControl] = "no-store"
    do throws(Problem) {
      let answer = try await answer(request, channel)
      reply = answer.reply
      policy = answer.asset?.policy ?? policy
      if let asset = answer.asset {
        headers[.eTag] = asset.tag
        headers[.cacheControl] = "no-cache"
      }
    } catch {
      reply = .state(error.status, error.json)
      headers = error.headers
      headers[.cacheControl] = "no-store"
      headers[.contentType] = "application/problem+json"
    }
    headers[.date] = HTTPDate.text(wall())
    headers[.contentSecurityPolicy] = policy
    headers[.xContentTypeOptions] = "nosniff"
    headers[StatusResponder.referrerPolicy] = "no-referrer"
    headers[StatusResponder.resourcePolicy] = "same-origin"
    if case .events(let listener) = reply {
      headers[.contentType] = EventStream.contentType
      let head = HTTPResponse(status: .ok, headerFields: headers)
      guard request.method != .head else { return try await writer.writeResponse(head) }
      // Who has gone is not listened for until there is something to write.
      channel.closeFuture.whenComplete { _ in listener.leave() }
      let requestHead = request.head
      return try await writer.write(
        response: head,
        body: EventStream.body(listener) { await gate.mayView(requestHead, channel) })
    }
    let (status, body, contentType) = parts(of: reply)
    if status != 304 {
      if headers[.contentType] == nil { headers[.contentType] = contentType }
      headers[.contentLength] = String(body.count)
    }
    let head = HTTPResponse(status: HTTPResponse.Status(code: status), headerFields: headers)
    // The length is that of the body that GET would give (RFC 9110, section 9.3.2).
    guard request.method != .head else { return try await writer.writeResponse(head) }
    try await writer.write(response: head, body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
  }

  private static let host = HTTPField.Name("Host") ?? .contentSecurityPolicy
  private static let referrerPolicy = HTTPField.Name("Referrer-Policy") ?? .contentSecurityPolicy
  private static let resourcePolicy = HTTPField.Name("Cross-Origin-Resource-Policy") ?? .contentSecurityPolicy

  private func parts(of reply: Route.Reply) -> (status: Int, body: [UInt8], contentType: String) {
    switch reply {
    case .json(let bytes): (200, bytes, "application/json")
    case .created(let bytes): (201, bytes, "application/json")
    case .bytes(let bytes, let contentType): (200, bytes, contentType)
    case .state(let status, let bytes): (status, bytes, "application/json")
    case .unchanged: (304, [], "")
    case .events: (200, [], EventStream.contentType)
    }
  }

  private func answer(
    _ request: Request, _ channel: any Channel
  ) async throws(Problem) -> (reply: Route.Reply, asset: PageAsset?) {
    try gate.admit(channel.remoteAddress)
    if let host = request.head.authority, !gate.rules.permits(host: host) {
      throw Problem(421, "Misdirected request", "this server does not answer for the host that was asked")
    }
    // The first stands in the authority; of two somebody before us may have believed the other (RFC 9112, section 3.2).
    guard request.head.headerFields[values: StatusResponder.host].isEmpty else {
      throw .invalid("the host is named twice")
    }
    guard let target = RequestTarget(request.head.path ?? "") else {
      throw .invalid("the path or the query cannot be read")
    }
    let path = "/" + target.segments.joined(separator: "/")
    let method = request.method == .head ? .get : request.method
    if method == .get, let asset = assets[path] {
      let known = request.headers[.ifNoneMatch] ?? ""
      return (known.contains(asset.tag) ? .unchanged : .bytes(asset.bytes, contentType: asset.contentType), asset)
    }
    let matching = routes.compactMap { route in route.match(target.segments).map { (route, $0) } }
    guard !matching.isEmpty else { throw .notFound("there is nothing under this path") }
    guard let (route, names) = matching.first(where: { $0.0.method == method }) else {
      let permitted = matching.map(\.0.method.rawValue) + (matching.contains { $0.0.method == .get } ? ["HEAD"] : [])
      throw Problem(
        405, "Method not allowed", "this resource takes \(permitted.joined(separator: ", "))",
        headers: [.allow: permitted.joined(separator: ", ")])
    }
    // Probes of HTTP/1.0 name none, and ask for what is open to everybody.
    guard request.head.authority != nil || route.role == nil else { throw .invalid("the host is not named") }
    let caller = try await gate.caller(for: route, request.head, channel)
    if let unknown = target.parameters.keys.filter({ !route.parameters.contains($0) }).min() {
      throw .invalid("this resource has no parameter \(unknown.shortened(to: 64))")
    }
    let body = route.method == .post ? try await body(of: request) : []
    let mayView = route.role != nil ? true : await gate.mayView(request.head, channel)
    let call = Route.Call(
      source: source, hub: hub, caller: caller, mayView: mayView, path: names, parameters: target.parameters,
      body: body)
    return (try await route.handler(call), nil)
  }

  private func body(of request: Request) async throws(Problem) -> [UInt8] {
    do {
      var collected: [UInt8] = []
      for try await part in request.body {
        guard collected.count + part.readableBytes <= StatusResponder.maximumBody else {
          throw Problem(413, "Content too large", "a body has at most \(StatusResponder.maximumBody) bytes")
        }
        collected.append(contentsOf: part.readableBytesView)
      }
      return collected
    } catch let problem as Problem {
      throw problem
    } catch {
      throw .invalid("the body could not be read")
    }
  }
}
