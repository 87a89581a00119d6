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
  ///   - path: comes behind the base URL.
  ///   - isCompressed: with gzip.
  /// - Returns: the status of the answer, whose body is thrown away, or why there was no whole answer. As a value: the
  ///   compiler of Swift 6.3.1 crashes where such an error is thrown by type into a closure.
  package func send(
    _ body: [UInt8], to path: String = "", mediaType: String, isCompressed: Bool
  ) async -> Result<Int, Unreachable> {
    do throws(Unreachable) {
      let client = HTTPClient(
        eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton),
        configuration: try settings.clientConfiguration(concurrency: 1))
      let result: Result<HTTPAnswer, any Error>
      do throws(Unreachable) {
        let request = try request(body, to: path, mediaType: mediaType, isCompressed: isCompressed)
        result = await HTTPUplink.answer(to: request, from: client, timeout: settings.timeout)
      } catch {
        result = .failure(error)
      }
      try? await client.shutdown()
      return result.map(\.status).mapError { error in
        error as? Unreachable ?? HTTPUplink.unreachable(error, place: settings.origin)
      }
    } catch {
      return .failure(error)
    }
  }

  private func request(
    _ body: [UInt8], to path: String, mediaType: String, isCompressed: Bool
  ) throws(Unreachable) -> HTTPClientRequest {
    var request = HTTPClientRequest(url: settings.url + path)
    request.method = .POST
    request.headers.add(name: "Content-Type", value: mediaType)
    request.headers.add(name: "User-Agent", value: userAgent)
    if let token = try settings.token() { request.headers.add(name: "Authorization", value: token.bearer) }
    guard isCompressed else {
      request.body = .bytes(ByteBuffer(bytes: body))
      return request
    }
    do {
      request.body = .bytes(ByteBuffer(bytes: try Gzip.compress(body)))
    } catch {
      throw Unreachable(.configuration, "cannot compress a document for \(settings.origin): \(error)")
    }
    request.headers.add(name: "Content-Encoding", value: "gzip")
    return request
  }
}
