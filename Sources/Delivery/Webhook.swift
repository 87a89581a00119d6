import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import Telemetry

/// Posts single JSON texts to somebody who wants to know. A client is made for each: they are rare, and nothing is to
/// be kept in memory between them.
package struct Webhook: Sendable {
  private let settings: UplinkSettings.HTTP
  private let version: String

  /// - Parameters:
  ///   - settings: where to, with which token and certificates; both are read anew at each attempt.
  ///   - version: of this program, for the `User-Agent`.
  package init(settings: UplinkSettings.HTTP, version: String) {
    self.settings = settings
    self.version = version
  }

  /// One attempt.
  /// - Throws: why it did not arrive; any answer but a 2xx is a refusal.
  package func post(_ json: [UInt8]) async throws(Unreachable) {
    var request = HTTPClientRequest(url: settings.url)
    request.method = .POST
    request.headers.add(name: "Content-Type", value: "application/json")
    request.headers.add(name: "User-Agent", value: "forebay/\(version)")
    if let token = try settings.token() { request.headers.add(name: "Authorization", value: token.bearer) }
    request.body = .bytes(ByteBuffer(bytes: json))
    let client = HTTPClient(
      eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton),
      configuration: try settings.clientConfiguration(concurrency: 1))
    let result: Result<Int, any Error>
    do {
      let response = try await client.execute(request, timeout: .nanoseconds(settings.timeout))
      result = .success(Int(response.status.code))
    } catch {
      result = .failure(error)
    }
    // What of the answer has not been read ends with the connection.
    try? await client.shutdown()
    switch result {
    case .success(let status) where (200..<300).contains(status): return
    case .success(let status): throw Unreachable(.garbage, "\(settings.place) answered \(status)")
    case .failure(let error):
      throw HTTPUplink.unreachable(error, place: settings.place)
    }
  }
}
