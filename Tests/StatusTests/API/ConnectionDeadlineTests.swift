import Foundation
import TestSupport
import Testing

@testable import Status

@Suite("How long a connection may take")
struct ConnectionDeadlineTests {
  private let server = StatusServerTests()

  /// What waiting for the other side came to.
  private enum Outcome: Equatable {
    case closed
    case answered
    case nothing
  }

  private static func now() -> Double { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 }

  @discardableResult
  private static func send(_ text: String, to fd: Int32) -> Bool {
    let bytes = Array(text.utf8)
    return bytes.withUnsafeBytes { Foundation.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) } == bytes.count
  }

  /// What comes within some milliseconds.
  private static func wait(_ fd: Int32, milliseconds: Int32) -> Outcome {
    var look = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
    guard poll(&look, 1, milliseconds) > 0 else { return .nothing }
    var chunk = [UInt8](repeating: 0, count: 65_536)
    return recv(fd, &chunk, chunk.count, 0) > 0 ? .answered : .closed
  }

  @Test("who sends a byte now and then is cut off, and others are served meanwhile")
  func trickling() async throws {
    try await server.with({ $0.limits.head = 3_000_000_000 }) { rig in
      let fds = try (1...3).map { _ in try rig.http.connected(seconds: 20) }
      defer { for fd in fds { close(fd) } }
      let began = Self.now()
      let head = Array("GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
      var cut: Set<Int32> = []
      var sent = 0
      while cut.count < fds.count, Self.now() < began + 30 {
        let byte = sent < head.count ? String(head[sent]) : "a"
        sent += 1
        for fd in fds where !cut.contains(fd) {
          if !Self.send(byte, to: fd) || Self.wait(fd, milliseconds: 30) != .nothing { cut.insert(fd) }
        }
        #expect(try rig.http.get("/healthz").status == 200)
      }
      #expect(cut.count == fds.count && sent > 2, "cut off: \(cut.count) after \(sent) bytes")
      #expect(Self.now() - began > 2.5)
    }
  }

  @Test("who says nothing is cut off: at once after connecting, and later between two requests")
  func silent() async throws {
    try await server.with({
      $0.limits.head = 500_000_000
      $0.limits.idle = 1_000_000_000
    }) { rig in
      let mute = try rig.http.connected(seconds: 20)
      defer { close(mute) }
      #expect(Self.wait(mute, milliseconds: 15_000) == .closed)
      let quiet = try rig.http.connected(seconds: 20)
      defer { close(quiet) }
      // As long as it asks it stays.
      for _ in 1...3 {
        #expect(Self.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", to: quiet))
        #expect(Self.wait(quiet, milliseconds: 15_000) == .answered)
        #expect(Self.wait(quiet, milliseconds: 600) == .nothing)
      }
      #expect(Self.wait(quiet, milliseconds: 15_000) == .closed)
    }
  }

  @Test("who does not take the answer is cut off")
  func slowReader() async throws {
    // More than both ends of a connection keep.
    let size = 48 << 20
    let page = PageAsset(contentType: "text/plain", bytes: [UInt8](repeating: 97, count: size), policy: "")
    try await server.with(assets: ["/large": page], { $0.limits.answer = 4_000_000_000 }) { rig in
      let fd = try rig.http.connected(seconds: 20)
      defer { close(fd) }
      #expect(Self.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n", to: fd))
      var chunk = [UInt8](repeating: 0, count: 1 << 20)
      var total = 0
      let began = Self.now()
      while true {
        // A kilobyte every twentieth of a second, until it is long over.
        let isSlow = Self.now() < began + 12
        let count = recv(fd, &chunk, isSlow ? 1024 : chunk.count, 0)
        guard count > 0 else { break }
        total += count
        if isSlow { poll(nil, 0, 50) }
      }
      #expect(total > 0 && total < size, "\(total) bytes of \(size)")
      #expect(try rig.http.get("/healthz").status == 200)
    }
  }

  /// A connection on which the head of a stream of events has arrived.
  private static func listening(_ rig: StatusServerTests.Rig, token: String? = nil) throws -> Int32 {
    let fd = try rig.http.connected(seconds: 20)
    let authorization = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
    send("GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\(authorization)\r\n", to: fd)
    let head = read(fd, until: "retry: 5000\n\n")
    #expect(head.contains(" 200 OK"), "\(head)")
    return fd
  }

  /// What arrives until some text is there or nothing comes any more, which is told by `END`.
  private static func read(_ fd: Int32, until end: String) -> String {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    let wanted = Array(end.utf8)
    while !bytes.suffix(chunk.count + wanted.count).contains(wanted) {
      let count = recv(fd, &chunk, chunk.count, 0)
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) + (count == 0 ? "END" : "") }
      bytes.append(contentsOf: chunk[..<count])
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test("a listener that goes, or that takes nothing, is soon no listener any more")
  func listeners() async throws {
    try await server.with({ $0.limits.stream = 1_000_000_000 }) { rig in
      // No event makes the server notice: the next sign of life is far.
      for half in [true, false] {
        let fd = try Self.listening(rig)
        #expect(rig.hub.isHeard)
        if half { shutdown(fd, Int32(SHUT_WR)) } else { close(fd) }
        #expect(eventually(within: 8) { !rig.hub.isHeard }, "half closed: \(half)")
        if half { close(fd) }
      }
      let deaf = try Self.listening(rig)
      defer { close(deaf) }
      let large = [UInt8](repeating: 97, count: 200_000)
      #expect(
        eventually(within: 20) {
          rig.hub.publish(.init(name: "status", json: large))
          return !rig.hub.isHeard
        })
    }
  }

  @Test("a listener that falls behind is told how many events it has lost, to the last one")
  func lost() async throws {
    try await server.with { rig in
      let fd = try Self.listening(rig)
      defer { close(fd) }
      // More than the connection holds, and faster than it goes.
      let published = 600
      let large = [UInt8](repeating: 97, count: 100_000)
      for _ in 1..<published { rig.hub.publish(.init(name: "status", json: large)) }
      rig.hub.publish(.init(name: "last", json: [97]))
      let text = Self.read(fd, until: "event: last\ndata: a\n\n")
      let arrived = text.components(separatedBy: "event: status\n").count - 1
      let lost = text.components(separatedBy: "event: lost\ndata: {\"count\":").dropFirst().compactMap {
        Int($0.prefix { $0 != "}" })
      }
      #expect(arrived + 1 + lost.reduce(0, +) == published && !lost.isEmpty, "\(arrived) arrived, lost: \(lost)")
    }
  }

  @Test("a listener whose token is withdrawn hears nothing more")
  func withdrawn() async throws {
    let directory = try TemporaryDirectory("withdrawn")
    let file = try StatusServerTests.tokens(directory)
    try await server.with({ $0.tokensFile = file }) { rig in
      let (anna, root) = (
        try Self.listening(rig, token: StatusServerTests.anna), try Self.listening(rig, token: StatusServerTests.root)
      )
      defer { for fd in [anna, root] { close(fd) } }
      rig.hub.publish(.init(name: "one", json: [97]))
      for fd in [anna, root] { #expect(Self.read(fd, until: "event: one\ndata: a\n\n").contains("event: one")) }
      let left = AccessToken(name: "root", role: .admin, digest: AccessToken.digest(of: StatusServerTests.root)).line
      try directory.write(left, to: "tokens")
      rig.hub.publish(.init(name: "two", json: [97]))
      #expect(Self.read(root, until: "event: two\ndata: a\n\n").contains("event: two"))
      // The end of the answer; the connection may be used for another request.
      let rest = Self.read(anna, until: "0\r\n\r\n")
      #expect(rest == "0\r\n\r\n", "\(rest)")
      #expect(eventually(within: 8) { rig.hub.listenerCount == 1 })
      #expect(try PlainHTTP(port: rig.port, token: StatusServerTests.anna).get("/v1/events").status == 401)
    }
  }

  @Test("what waits for a listener is bounded; what was dropped is counted once, before the rest")
  func mailbox() throws {
    let hub = EventHub()
    let listener = try #require(hub.listen())
    #expect(listener.take().isEmpty)
    for number in 0..<(EventHub.buffered + 8) { hub.publish(.init(name: "\(number)", json: [])) }
    let events = listener.take()
    #expect(events.first == .init(name: "lost", json: Array(#"{"count":8}"#.utf8)))
    #expect(events.dropFirst().map(\.name) == (8..<(EventHub.buffered + 8)).map(String.init))
    #expect(listener.take().isEmpty)
    hub.publish(.init(name: "next", json: []))
    #expect(listener.take().map(\.name) == ["next"])
  }

  @Test("so many may listen, and who lets go makes room")
  func room() {
    let hub = EventHub()
    do {
      let listeners = (0..<EventHub.maximumListeners).compactMap { _ in hub.listen() }
      #expect(listeners.count == EventHub.maximumListeners && hub.listen() == nil)
    }
    #expect(!hub.isHeard)
    let listener = hub.listen()
    listener?.leave()
    #expect(!hub.isHeard && listener != nil)
  }
}
