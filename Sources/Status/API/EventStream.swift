internal import HummingbirdCore
internal import NIOCore

/// Server-sent events (WHATWG HTML, section 9.2).
enum EventStream {
  static let contentType = "text/event-stream"
  /// Nanoseconds between two signs of life, so that both ends notice a dead connection: a comment, which clients skip.
  static let heartbeat: UInt64 = 15_000_000_000

  /// `event: status`, `data: {...}` and an empty line. JSON of this house has no line feeds.
  static func text(_ event: EventHub.Event) -> ByteBuffer {
    var buffer = ByteBuffer()
    buffer.writeString("event: \(event.name)\ndata: ")
    buffer.writeBytes(event.json)
    buffer.writeString("\n\n")
    return buffer
  }

  /// Writes events and heartbeats until the listener goes, the hub is closed or the listener may no longer listen.
  /// - Parameter isPermitted: asked before anything is written: a token may have been withdrawn.
  static func body(
    _ listener: EventHub.Listener, isPermitted: @escaping @Sendable () async -> Bool
  ) -> ResponseBody {
    ResponseBody { writer in
      // The heartbeats come in by the same stream, so that one task writes.
      let beating = Task {
        while true {
          try await Task.sleep(nanoseconds: heartbeat)
          listener.ring()
        }
      }
      defer {
        beating.cancel()
        listener.leave()
      }
      // Heads leave with the first bytes of the body: the client sees at once that it is connected.
      try await writer.write(ByteBuffer(string: ": forebay\nretry: 5000\n\n"))
      for await _ in listener.wake {
        guard await isPermitted() else { break }
        let events = listener.take()
        if events.isEmpty { try await writer.write(ByteBuffer(string: ":\n\n")) }
        for event in events { try await writer.write(text(event)) }
      }
      try await writer.finish(nil)
    }
  }
}
