internal import HTTPTypes
internal import NIOCore
internal import NIOSSL
internal import Synchronization

/// Decides which requests are answered: how many, and whose.
final class RequestGate: Sendable {
  let rules: AccessRules
  let tokens: TokenWatch?
  private let asksForCertificates: Bool
  private let limiter = Mutex(RequestLimiter())
  private let monotonic: @Sendable () -> Int64

  init(_ settings: StatusServer.Settings, monotonic: @escaping @Sendable () -> Int64) {
    rules = AccessRules(
      isLoopback: settings.isLoopback, anonymous: settings.isLoopback ? settings.anonymous : nil,
      hosts: settings.hosts, certificates: settings.certificates)
    tokens = settings.tokensFile.map(TokenWatch.init)
    asksForCertificates = settings.tls?.clientAuthorityFile != nil
    self.monotonic = monotonic
  }

  /// - Throws: 429 when it comes too soon.
  func admit(_ address: SocketAddress?) throws(Problem) {
    let now = monotonic()
    let wait = limiter.withLock { $0.admit(ClientAddress.text(address), now: now) }
    guard wait > 0 else { return }
    throw Problem(
      429, "Too many requests", "this client asks too often, or all of them do",
      headers: [.retryAfter: String((wait + 999_999_999) / 1_000_000_000)])
  }

  /// - Throws: 401 or 403.
  func caller(
    for route: Route, _ head: HTTPRequest, _ channel: any Channel
  ) async throws(Problem) -> Caller {
    try await caller(needing: route.role, changes: route.method == .post, head, channel)
  }

  /// Whether whoever made the request may see how things are, by what the file of tokens says now.
  func mayView(_ head: HTTPRequest, _ channel: any Channel) async -> Bool {
    (try? await caller(needing: .viewer, changes: false, head, channel)) != nil
  }

  private func caller(
    needing role: Role?, changes: Bool, _ head: HTTPRequest, _ channel: any Channel
  ) async throws(Problem) -> Caller {
    let authorization = head.headerFields[.authorization]
    let credentials = AccessRules.Credentials(
      holder: authorization.flatMap(RequestGate.token).flatMap { tokens?.holder(of: $0) },
      isAuthorized: authorization != nil,
      names: authorization == nil && role != nil ? await names(of: channel) : [])
    return try rules.caller(needing: role, changes: changes, credentials, head.headerFields)
  }

  /// RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, section 11.1).
  private static func token(_ authorization: String) -> String? {
    let words = authorization.split(separator: " ", omittingEmptySubsequences: true)
    guard words.count == 2, words[0].lowercased() == "bearer" else { return nil }
    return String(words[1])
  }

  private func names(of channel: any Channel) async -> [String] {
    guard asksForCertificates, let certificate = try? await channel.nioSSL_peerCertificate().get(),
      let bytes = try? certificate.toDERBytes()
    else { return [] }
    return CertificateNames.read(der: bytes)
  }
}
