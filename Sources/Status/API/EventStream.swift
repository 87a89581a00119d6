/// Server-sent events (WHATWG HTML, section 9.2).
enum EventStream {
  static let contentType = "text/event-stream"
}
