import AsyncHTTPClient
import Compression
import NIOCore
import NIOHTTP1
import NIOPosix
import Telemetry

/// Brings a document somewhere by HTTP POST: not a batch, and nothing waits for it. With the same settings of TLS,
/// token and proxy as an uplink. A connection is made for each, so that secrets and certificates are read anew and
/// nothing is held in between.
package struct DocumentPost: Sendable {
  private let settings: UplinkSettings.HTTP
  private let userAgent: String

  /// - Parameters:
  ///   - settings: of which `url` is the base.
  ///   - version: of this program, for the `User-Agent`.
  package init(settings: UplinkSettings.HTTP, version: String) {
    self.settings = settings
    userAgent = "forebay/\(version)"
  }

  /// - Parameters:
  ///   - body: sent with gzip.
  ///   - path: comes behind the base URL.
  /// - Returns: the status of the answer; its body is thrown away.
  /// - Throws: why there was no whole answer.
  package func send(_ body: [UInt8], to path: String, mediaType: String) async throws(Unreachable) -> Int {
    let compressed: [UInt8]
    do {
      compressed = try Gzip.compress(body)
    } catch {
      throw Unreachable(.configuration, "cannot compress a document for \(settings.place): \(error)")
    }
    var request = HTTPClientRequest(url: settings.url + path)
    request.method = .POST
    request.headers.add(name: "Content-Type", value: mediaType)
    request.headers.add(name: "Content-Encoding", value: "gzip")
    request.headers.add(name: "User-Agent", value: userAgent)
    if let token = try settings.token() { request.headers.add(name: "Authorization", value: token.bearer) }
    request.body = .bytes(ByteBuffer(bytes: compressed))
    let client = HTTPClient(
      eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton),
      configuration: try settings.clientConfiguration(concurrency: 1))
    let result = await HTTPUplink.answer(to: request, from: client, timeout: settings.timeout)
    try? await client.shutdown()
    switch result {
    case .success(let answer): return answer.status
    case .failure(let error): throw HTTPUplink.unreachable(error, place: settings.place)
    }
  }
}
