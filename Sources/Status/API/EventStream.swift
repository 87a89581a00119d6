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

  /// Writes events and heartbeats until the listener goes or the hub is closed.
  static func body(_ events: AsyncStream<EventHub.Event>) -> ResponseBody {
    ResponseBody { writer in
      // Heads leave with the first bytes of the body: the client sees at once that it is connected.
      try await writer.write(ByteBuffer(string: ": forebay\nretry: 5000\n\n"))
      // The heartbeats come in by the same stream, so that one task writes.
      let (merged, continuation) = AsyncStream<EventHub.Event?>.makeStream(
        bufferingPolicy: .bufferingNewest(EventHub.buffered))
      let forwarding = Task {
        for await event in events { continuation.yield(event) }
        continuation.finish()
      }
      let beating = Task {
        while !Task.isCancelled {
          try await Task.sleep(nanoseconds: heartbeat)
          continuation.yield(nil)
        }
      }
      defer {
        forwarding.cancel()
        beating.cancel()
      }
      for await event in merged {
        try await writer.write(event.map(text) ?? ByteBuffer(string: ":\n\n"))
      }
      try await writer.finish(nil)
    }
  }
}
