/// Requests that two HTTP parsers could read in two ways, or that are none (RFC 9112).
package struct HostileRequest: Sendable {
  package var name: String
  /// `METHOD` and `PATH` stand for those of the request.
  private var text: String

  private init(_ name: String, _ text: String) {
    self.name = name
    self.text = text
  }

  package func bytes(method: String, path: String) -> [UInt8] {
    var text = text
    for (placeholder, value) in [("METHOD", method), ("PATH", path)] {
      while let range = text.firstRange(of: placeholder) { text.replaceSubrange(range, with: value) }
    }
    return Array(text.utf8)
  }

  private static let inner = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

  /// Each has two ends, or a head that others read differently: the connection is not to be trusted any more
  /// (RFC 9112, sections 5.2, 6.1, 6.3 and 11.2).
  package static let smuggling: [HostileRequest] = [
    HostileRequest(
      "two lengths",
      "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\n" + inner),
    HostileRequest(
      "a list of two lengths", "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0, 50\r\n\r\n" + inner),
    HostileRequest(
      "chunked and a length",
      "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + inner),
    HostileRequest(
      "chunked twice, and another coding last",
      "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + inner),
    HostileRequest(
      "white space before the colon",
      "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + inner),
    HostileRequest(
      "a folded line", "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n Content-Length: 50\r\n\r\n" + inner),
    HostileRequest(
      "a bare LF in a value", "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nX-A: b\nContent-Length: 50\r\n\r\n" + inner),
    HostileRequest(
      "a bare CR in a value", "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nX-A: b\rContent-Length: 50\r\n\r\n" + inner),
    HostileRequest(
      "a length below zero", "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n" + inner),
    HostileRequest(
      "a length beyond all numbers",
      "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n" + inner),
    HostileRequest("a zero byte in a value", "METHOD PATH HTTP/1.1\r\nHost: localhost\r\nX-A: b\0c\r\n\r\n"),
  ]
}
