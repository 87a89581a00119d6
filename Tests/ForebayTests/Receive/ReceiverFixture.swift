import Glibc
import NIOSSL
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import forebay

/// A receiver that listens on a free port.
final class RunningReceiver: Sendable {
  let directory: TemporaryDirectory
  let server: ReceiverServer
  let service: ReceiverService
  let writer: StoreWriter

  var layout: BatchStoreLayout { BatchStoreLayout(directory: directory.path) }

  init(
    _ directory: TemporaryDirectory, fail: [String] = [], token: String? = nil,
    maximumBytes: Int = 1 << 20, tls: NIOSSLContext? = nil, limits: ReceiverLimits = ReceiverLimits(),
    write: @escaping BatchStoreFile.Write = BatchStoreFile.systemWrite
  ) async throws {
    self.directory = directory
    writer = try StoreWriter(layout: BatchStoreLayout(directory: directory.path), write: write) {
      1_700_000_000_000
    }
    service = ReceiverService(
      writer: writer, maximumBytes: maximumBytes, tokens: token.map { [Secret($0)] } ?? [],
      faults: FaultPlan(try fail.map { try FaultRule($0) }, seed: 1))
    server = try await ReceiverServer.start(
      host: "127.0.0.1", port: 0, tls: tls, maximumBytes: maximumBytes, service: service,
      limits: limits)
  }

  func stop() async throws {
    try await server.stopListening()
    try await writer.close()
    try await server.stop()
  }

  func send(
    _ batch: FixtureBatch, _ compression: BatchCompression = .gzip, fields: [String: String?] = [:]
  ) throws -> RawAnswer {
    let body = try batch.wire(compression)
    return try RawHTTP.send(
      port: server.port, request: RawHTTP.request(batch, compression, body: body, fields: fields))
  }

  /// All lines that the store holds, in order.
  func exported() throws -> [String] {
    var lines: [String] = []
    try StoreReading(layout: layout).export { _, bytes in
      lines += String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }
    return lines
  }
}

struct RawAnswer: Equatable {
  /// Nil when the connection ended without a status line.
  var status: Int?
  var fields: [String: String] = [:]
  var body = ""
  /// As many bytes came as `Content-Length` said.
  var isWhole = false
}

/// HTTP by hand, over a socket of its own.
enum RawHTTP {
  static func request(
    _ batch: FixtureBatch, _ compression: BatchCompression, body: [UInt8],
    fields: [String: String?] = [:], method: String = "POST"
  ) -> [UInt8] {
    var all = Dictionary(uniqueKeysWithValues: batch.label(compression).fields.map { ($0.name, $0.value) })
    all["Host"] = "127.0.0.1"
    all["Content-Type"] = batch.encoding.mediaType
    all["Content-Digest"] = "sha-256=:\(Base64.encode(Digest(of: body).bytes)):"
    all["Content-Length"] = String(body.count)
    all["Connection"] = "close"
    for (name, value) in fields { all[name] = value }
    let head = all.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)\r\n" }.joined()
    return Array("\(method) /v1/batches HTTP/1.1\r\n\(head)\r\n".utf8) + body
  }

  /// Sends the bytes and reads until the other side closes, or for `seconds`.
  static func send(port: Int, request: [UInt8], seconds: Int = 10) throws -> RawAnswer {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { throw POSIXFailure("socket", "127.0.0.1") }
    defer { close(fd) }
    var limit = timeval(tv_sec: seconds, tv_usec: 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    guard withLoopback(port: port, { connect(fd, $0, $1) }) == 0 else {
      throw POSIXFailure("connect", "127.0.0.1:\(port)")
    }
    var rest = request[...]
    while !rest.isEmpty {
      let n = rest.withUnsafeBytes { Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard n > 0 else { throw POSIXFailure("send", "127.0.0.1:\(port)") }
      rest = rest.dropFirst(n)
    }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
      let n = chunk.withUnsafeMutableBytes { recv(fd, $0.baseAddress, $0.count, 0) }
      if n <= 0 { break }
      bytes += chunk[..<n]
    }
    return parse(String(decoding: bytes, as: UTF8.self))
  }

  static func parse(_ text: String) -> RawAnswer {
    var answer = RawAnswer()
    guard text.hasPrefix("HTTP/1."), let gap = text.firstRange(of: "\r\n\r\n") else {
      answer.body = text
      return answer
    }
    let lines = text[..<gap.lowerBound].split(separator: "\r\n")
    answer.status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
    for line in lines.dropFirst() {
      let pair = line.split(separator: ":", maxSplits: 1)
      answer.fields[pair[0].lowercased()] = pair.count > 1 ? String(pair[1].drop { $0 == " " }) : ""
    }
    answer.body = String(text[gap.upperBound...])
    answer.isWhole = answer.fields["content-length"] == String(answer.body.utf8.count)
    return answer
  }
}
