package import Foundation

/// Asks an HTTP server on 127.0.0.1 one thing over a connection of its own, byte for byte as it is told to.
package struct PlainHTTP {
  package struct Answer: Sendable {
    package var status: Int
    /// In lower case.
    package var headers: [String: String]
    package var body: Data

    package var text: String { String(decoding: body, as: UTF8.self) }

    package var json: [String: Any] {
      ((try? JSONSerialization.jsonObject(with: body)) as? [String: Any]) ?? [:]
    }
  }

  package var port: Int
  package var token: String?

  package init(port: Int, token: String? = nil) {
    self.port = port
    self.token = token
  }

  package func get(_ path: String, _ headers: [String: String] = [:]) throws -> Answer {
    try send("GET", path, headers, nil)
  }

  package func post(_ path: String, _ body: String = "", _ headers: [String: String] = [:]) throws -> Answer {
    try send("POST", path, headers, body)
  }

  package func send(_ method: String, _ path: String, _ headers: [String: String], _ body: String?) throws -> Answer {
    var fields = ["Host": "127.0.0.1:\(port)", "Connection": "close"]
    if let token { fields["Authorization"] = "Bearer \(token)" }
    if let body { fields["Content-Length"] = "\(body.utf8.count)" }
    fields.merge(headers) { $1 }
    let head = fields.map { "\($0.key): \($0.value)\r\n" }.sorted().joined()
    return try PlainHTTP.parse(try raw(Array("\(method) \(path) HTTP/1.1\r\n\(head)\r\n\(body ?? "")".utf8)))
  }

  /// Sends bytes and reads until the server closes, or for so many seconds.
  package func raw(_ bytes: [UInt8], seconds: Int = 20) throws -> Data {
    let fd = try connected(seconds: seconds)
    defer { close(fd) }
    _ = bytes.withUnsafeBytes { Foundation.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    var answer = Data()
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(fd, &chunk, chunk.count, 0)
      guard count > 0 else { return answer }
      answer.append(contentsOf: chunk[..<count])
    }
  }

  /// A connection, on which reading ends after so many seconds; who calls closes it.
  package func connected(seconds: Int) throws -> Int32 {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var limit = timeval(tv_sec: seconds, tv_usec: 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    guard withLoopback(port: port, { connect(fd, $0, $1) }) == 0 else {
      close(fd)
      throw POSIXFailure("connect to", "127.0.0.1:\(port)")
    }
    return fd
  }

  private struct NoAnswer: Error, CustomStringConvertible {
    var description: String
  }

  package static func parse(_ bytes: Data) throws -> Answer {
    guard let end = bytes.range(of: Data("\r\n\r\n".utf8)) else {
      throw NoAnswer(description: "no HTTP answer: \(String(decoding: bytes.prefix(200), as: UTF8.self))")
    }
    let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    }
    let status = lines[0].split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return Answer(status: status, headers: headers, body: Data(bytes[end.upperBound...]))
  }
}
