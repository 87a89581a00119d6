internal import HTTPTypes

/// Why a request has no answer, as RFC 9457 has it: what programs read is the status and `title`, what people
/// read is `detail`.
struct Problem: Error, Sendable, Hashable {
  var status: Int
  var title: String
  var detail: String
  /// Beside those that every answer has.
  var headers: HTTPFields = [:]

  init(_ status: Int, _ title: String, _ detail: String, headers: HTTPFields = [:]) {
    self.status = status
    self.title = title
    self.detail = detail
    self.headers = headers
  }

  init(_ fault: StatusFault) {
    switch fault.kind {
    case .unknown: self = .notFound(fault.detail)
    case .invalid: self = .invalid(fault.detail)
    case .conflict: self.init(409, "Conflict", fault.detail)
    case .unavailable: self.init(503, "Unavailable", fault.detail)
    }
  }

  static func notFound(_ detail: String) -> Problem { Problem(404, "Not found", detail) }
  static func invalid(_ detail: String) -> Problem { Problem(400, "Invalid request", detail) }

  var json: [UInt8] {
    var writer = JSONWriter(capacity: 256)
    writer.object {
      // "about:blank": the title says what the status says (RFC 9457, section 4.2.1).
      $0.value("type", "about:blank")
      $0.value("title", title)
      $0.value("status", Int64(status))
      $0.value("detail", detail)
    }
    return writer.bytes
  }
}
