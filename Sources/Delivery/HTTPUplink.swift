import AsyncHTTPClient
import Glibc
package import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization
package import Telemetry

/// Delivers by HTTP POST (docs/delivery-protocol.md).
package final class HTTPUplink: Uplink {
  /// One client and its certificates. A reload begins a new one; the old one ends with its last request.
  private final class Generation: Sendable {
    let client: HTTPClient
    let fingerprint: [Int64]
    /// Requests on the way, and whether it is to end after them.
    let use = Mutex<(requests: Int, retired: Bool)>((0, false))

    init(client: HTTPClient, fingerprint: [Int64]) {
      self.client = client
      self.fingerprint = fingerprint
    }

    func begin() { use.withLock { $0.requests += 1 } }

    func end() async {
      let last = use.withLock {
        $0.requests -= 1
        return $0.requests == 0 && $0.retired
      }
      if last { try? await client.shutdown() }
    }

    func retire() async {
      let idle = use.withLock {
        $0.retired = true
        return $0.requests == 0
      }
      if idle { try? await client.shutdown() }
    }
  }

  private struct State {
    var generation: Generation?
    /// Nil: not read yet.
    var token: Secret??
    /// The last token with which a batch was accepted.
    var accepted: Secret?
    /// The token on disk that is refused while ``accepted`` is not, and when that was found last (wall nanoseconds).
    var refused: (token: Secret?, at: Int64)?
    var isShutDown = false
  }

  /// Nanoseconds after which a token that was refused is shown again: it may have been the upstream that was not well.
  static let refusalTime: Int64 = 600_000_000_000

  private let settings: UplinkSettings.HTTP
  private let concurrency: Int
  private let userAgent: String
  private let group: any EventLoopGroup
  private let wall: @Sendable () -> Int64
  private let life: UInt64
  private let state = Mutex(State())

  /// - Parameters:
  ///   - version: of this program, for the `User-Agent`.
  ///   - wall: nanoseconds since 1970, for a `Retry-After` that is a date, and for trying a refused token again.
  ///   - life: drawn when the process started, so that no two attempts have the same span.
  package init(
    settings: UplinkSettings.HTTP, concurrency: Int, version: String, life: UInt64 = 0,
    group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, wall: @escaping @Sendable () -> Int64
  ) {
    self.settings = settings
    self.concurrency = concurrency
    userAgent = "forebay/\(version)"
    self.group = group
    self.wall = wall
    self.life = life
  }

  package func send(
    _ batch: Batch, attempt: Int, wrote: @escaping @Sendable (Int) -> Void
  ) async -> Answer {
    do {
      let used = try token()
      let answer = try await attemptOnce(batch, attempt: attempt, token: used, wrote)
      guard case .credentials = answer else { return answer }
      // Rotated since it was read? Then this is no case for an alarm.
      let fresh = try settings.token()
      await renewCertificates()
      state.withLock { $0.token = .some(fresh) }
      if fresh != used {
        let next = try await attemptOnce(batch, attempt: attempt, token: fresh, wrote)
        guard case .credentials = next else { return next }
      }
      return try await fallBack(from: fresh, used, answer, batch, attempt: attempt, wrote)
    } catch {
      if error.kind == .tls { await renewCertificates() }
      return .unreachable(error)
    }
  }

  package func reload() async {
    let old = state.withLock { state in
      defer { state.generation = nil }
      state.token = nil
      state.refused = nil
      return state.generation
    }
    await old?.retire()
  }

  package func shutdown() async {
    let old = state.withLock { state in
      defer { state.generation = nil }
      state.isShutDown = true
      return state.generation
    }
    // Ends what is on its way: the batches stay in the outbox.
    try? await old?.client.shutdown()
  }

  // MARK: Secrets

  /// The token on disk is refused. Where it has just been put there, the upstream may not know it yet: the one that
  /// was accepted last goes on until it is refused itself.
  private func fallBack(
    from fresh: Secret?, _ used: Secret?, _ answer: Answer, _ batch: Batch, attempt: Int,
    _ wrote: @escaping @Sendable (Int) -> Void
  ) async throws(Unreachable) -> Answer {
    guard let old = state.withLock({ $0.accepted }), old != fresh, old != used else { return answer }
    let last = try await attemptOnce(batch, attempt: attempt, token: old, wrote)
    guard case .hasIt = last else { return last }
    state.withLock { state in
      state.token = .some(old)
      state.refused = (fresh, wall())
    }
    return last
  }

  /// What is refused is not what was accepted last any more: it is not shown again, and nobody is told that it works.
  private func noteRefused(_ token: Secret?) {
    state.withLock { state in
      guard token == state.accepted else { return }
      state.accepted = nil
      state.refused = nil
    }
  }

  /// Notes what an upstream accepts; what is in place is no longer in doubt.
  private func noteAccepted(_ token: Secret?) {
    state.withLock { state in
      if token != state.accepted { state.refused = nil }
      state.accepted = token
    }
  }

  package var refusedCredential: String? {
    guard state.withLock({ $0.refused != nil }), let path = settings.tokenFile else { return nil }
    return "the upstream refuses the token in \(path); the one that was there before still works and goes on, until "
      + "the next restart"
  }

  private func token() throws(Unreachable) -> Secret? {
    let (known, refused) = state.withLock { ($0.token, $0.refused) }
    if let known {
      guard let refused else { return known }
      // The old one serves: the one on disk is shown when it is another, and from time to time.
      let now = wall()
      let isDue = now < refused.at || now - refused.at >= HTTPUplink.refusalTime
      guard let onDisk = try? settings.token(), isDue || onDisk != refused.token else { return known }
      state.withLock { state in
        state.token = .some(onDisk)
        // One question in that time, unless the upstream did not answer it.
        state.refused?.at = now
      }
      return onDisk
    }
    let token = try settings.token()
    state.withLock { $0.token = .some(token) }
    return token
  }

  /// A certificate may have been replaced since the client was made.
  private func renewCertificates() async {
    let fingerprint = settings.certificateFingerprint()
    let old = state.withLock { state -> Generation? in
      guard let generation = state.generation, generation.fingerprint != fingerprint else { return nil }
      state.generation = nil
      return generation
    }
    await old?.retire()
  }

  /// The current client, with one more request on its way.
  private func begin() throws(Unreachable) -> Generation {
    let (current, isShutDown) = state.withLock { state in
      state.generation?.begin()
      return (state.generation, state.isShutDown)
    }
    if isShutDown { throw Unreachable(.cancelled, "the uplink has been shut down") }
    if let current { return current }
    // The fingerprint first: a file that is replaced in between shows as a change afterwards.
    let fingerprint = settings.certificateFingerprint()
    let configuration = try settings.clientConfiguration(concurrency: concurrency)
    let fresh = Generation(
      client: HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration),
      fingerprint: fingerprint)
    fresh.begin()
    let loser = state.withLock { state -> Generation? in
      guard state.generation == nil, !state.isShutDown else { return state.generation ?? fresh }
      state.generation = fresh
      return nil
    }
    // Another request was quicker to make one: this one serves its single request and ends.
    if loser != nil { fresh.use.withLock { $0.retired = true } }
    return fresh
  }

  // MARK: One request

  private func attemptOnce(
    _ batch: Batch, attempt: Int, token: Secret?, _ wrote: @escaping @Sendable (Int) -> Void
  ) async throws(Unreachable) -> Answer {
    var request = HTTPClientRequest(url: settings.url)
    request.method = .POST
    for (name, value) in HTTPRequestFields.of(batch, attempt: attempt, life: life) {
      request.headers.add(name: name, value: value)
    }
    request.headers.add(name: "User-Agent", value: userAgent)
    if let token { request.headers.add(name: "Authorization", value: token.bearer) }
    request.body = .stream(
      CountedBody(bytes: ByteBuffer(bytes: batch.body), wrote: wrote), length: .known(Int64(batch.body.count)))
    let generation = try begin()
    let result = await HTTPUplink.answer(to: request, from: generation.client, timeout: settings.timeout)
    await generation.end()
    switch result {
    case .success(let answer):
      let meaning = answer.meaning(for: batch, rule: settings.receipt, wall: wall())
      switch meaning {
      case .hasIt: noteAccepted(token)
      case .credentials: noteRefused(token)
      default: break
      }
      return meaning
    case .failure(let error):
      if error as? HTTPClientError == .proxyAuthenticationRequired {
        return .unknownUpstream("407: the proxy wants credentials")
      }
      throw HTTPUplink.unreachable(error, place: settings.place)
    }
  }

  /// The client's own deadline ends with the head of the answer; this one covers the body, too.
  /// - Parameter timeout: nanoseconds.
  static func answer(
    to request: HTTPClientRequest, from client: HTTPClient, timeout: Int64
  ) async -> Result<HTTPAnswer, any Error> {
    await withTaskGroup(of: Result<HTTPAnswer, any Error>?.self) { group in
      group.addTask {
        do {
          return .success(try await HTTPUplink.exchange(request, client, timeout: timeout))
        } catch {
          return .failure(error)
        }
      }
      group.addTask {
        try? await Task.sleep(nanoseconds: UInt64(max(0, timeout)))
        return Task.isCancelled ? nil : .failure(HTTPClientError.deadlineExceeded)
      }
      var result: Result<HTTPAnswer, any Error>?
      while result == nil, let next = await group.next() { result = next }
      group.cancelAll()
      return result ?? .failure(CancellationError())
    }
  }

  private static func exchange(
    _ request: HTTPClientRequest, _ client: HTTPClient, timeout: Int64
  ) async throws -> HTTPAnswer {
    let response = try await client.execute(request, timeout: .nanoseconds(timeout))
    var body: [UInt8]? = []
    for try await buffer in response.body {
      body?.append(contentsOf: buffer.readableBytesView)
      if body?.count ?? 0 > HTTPAnswer.maximumBody {
        body = nil
        // Leaving the loop ends the request and its connection.
        break
      }
    }
    return HTTPAnswer(
      status: Int(response.status.code), retryAfter: response.headers.first(name: "Retry-After"),
      date: response.headers.first(name: "Date"), body: body)
  }

  // MARK: Errors

  /// - Parameter place: where it was to go, as it may stand in logs.
  static func unreachable(_ error: any Error, place: String) -> Unreachable {
    let kind: Unreachable.Kind =
      switch error {
      case is CancellationError: .cancelled
      case let error as HTTPClientError: HTTPUplink.kind(error)
      case is NIOConnectionError: .notConnected
      case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: .tls
      case let error as HTTPParserError: error == .invalidEOFState ? .closed : .garbage
      case let error as IOError: HTTPUplink.isRefusal(error.errnoCode) ? .notConnected : .closed
      default: .closed
      }
    return Unreachable(kind, "cannot deliver to \(place): \(HTTPUplink.cause(kind, error))")
  }

  private static func kind(_ error: HTTPClientError) -> Unreachable.Kind {
    switch error {
    case .deadlineExceeded, .readTimeout, .writeTimeout, .getConnectionFromPoolTimeout: .timedOut
    case .connectTimeout, .httpProxyHandshakeTimeout, .invalidProxyResponse: .notConnected
    case .tlsHandshakeTimeout: .tls
    case .cancelled, .alreadyShutdown: .cancelled
    case .invalidURL, .emptyHost, .emptyScheme: .configuration
    case .httpEndReceivedAfterHeadWith1xx: .garbage
    default: .closed
    }
  }

  private static func isRefusal(_ code: CInt) -> Bool {
    [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, ETIMEDOUT].contains(code)
  }

  /// An error of the system in the system's words. NIO's own are long, and their brackets do not match.
  private static func words(_ error: any Error) -> String {
    switch error {
    case let error as IOError: return String(cString: strerror(error.errnoCode))
    case let error as NIOConnectionError:
      if let last = error.connectionErrors.last { return words(last.error) }
      return [error.dnsAError, error.dnsAAAAError].contains { $0 != nil }
        ? "the name \(error.host) was not found" : "\(error)"
    default: return "\(error)"
    }
  }

  private static func cause(_ kind: Unreachable.Kind, _ error: any Error) -> String {
    switch kind {
    case .timedOut: "no whole answer in time"
    case .notConnected: "no connection (\(words(error)))"
    case .closed: "the connection ended before the answer did (\(words(error)))"
    case .tls:
      if let fault = TLSFault(error) {
        "the TLS handshake failed: \(fault.words); \(fault.hint) (\(error))"
      } else {
        "the TLS handshake failed (\(error))"
      }
    case .garbage: "what answered does not speak HTTP (\(error))"
    case .cancelled: "given up"
    case .configuration, .diskFull, .disk: "\(error)"
    }
  }
}
