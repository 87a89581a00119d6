import Glibc
import Synchronization
import TestSupport

/// A broker that does what a test tells it, byte for byte, to one client after the other.
final class FakeBroker: Sendable {
  var port: Int { listener.port }
  /// Connections accepted so far.
  var connections: Int { accepted.withLock { $0 } }

  private let listener: LoopbackListener
  private let accepted = Mutex(0)

  /// - Parameter script: called for each connection, on a thread; when it returns or throws, the
  ///   connection is closed.
  init(_ script: @escaping @Sendable (Client) throws -> Void) throws {
    listener = try LoopbackListener()
    listener.accept { [weak self] connection in
      self?.accepted.withLock { $0 += 1 }
      let client = Client(connection)
      try? script(client)
      close(connection)
    }
  }

  struct Packet {
    enum Kind: UInt8 {
      case connect = 1, connack, publish, puback, pubrec, pubrel, pubcomp, subscribe, suback, unsubscribe
      case unsuback, pingreq, pingresp, disconnect, auth
    }

    var kind: Kind
    var flags: UInt8 = 0
    var body: [UInt8] = []

    /// MQTT 5, at QoS 1, or at QoS 0 where there is no identifier.
    static func publish5(_ topic: String, _ payload: String, id: Int? = nil, dup: Bool = false) -> Packet {
      let name = Array(topic.utf8)
      return Packet(
        kind: .publish, flags: (id == nil ? 0 : 2) | (dup ? 8 : 0),
        body: [UInt8(name.count >> 8), UInt8(name.count & 0xff)] + name
          + (id.map { [UInt8($0 >> 8), UInt8($0 & 0xff)] } ?? []) + [0] + Array(payload.utf8))
    }

    /// The packet identifier of a PUBACK.
    var acknowledged: Int? {
      kind == .puback && body.count >= 2 ? Int(body[0]) << 8 | Int(body[1]) : nil
    }

    /// MQTT 3.1.1, at QoS 1.
    static func publish(_ topic: String, _ payload: [UInt8], id: Int) -> Packet {
      let name = Array(topic.utf8)
      return Packet(
        kind: .publish, flags: 2,
        body: [UInt8(name.count >> 8), UInt8(name.count & 0xff)] + name
          + [UInt8(id >> 8), UInt8(id & 0xff)] + payload)
    }
  }

  /// The broker's side of one connection.
  final class Client: Sendable {
    private let fd: Int32

    init(_ fd: Int32) {
      self.fd = fd
      var yes: Int32 = 1
      setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    }

    func send(_ bytes: [UInt8]) throws {
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes {
          Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard count > 0 else { throw POSIXFailure("send", "client") }
        rest = rest.dropFirst(count)
      }
    }

    func send(_ packet: Packet) throws {
      var bytes = [packet.kind.rawValue << 4 | packet.flags]
      var length = packet.body.count
      repeat {
        bytes.append(UInt8(length & 0x7f) | (length > 0x7f ? 0x80 : 0))
        length >>= 7
      } while length > 0
      try send(bytes + packet.body)
    }

    /// Drops what the client has said. Whether it has closed.
    func hasGone() -> Bool {
      var bytes = [UInt8](repeating: 0, count: 4_096)
      return recv(fd, &bytes, bytes.count, Int32(MSG_DONTWAIT)) == 0
    }

    /// Nil when the client has closed.
    func receive() throws -> Packet? {
      guard let first = read(1)?.first, let kind = Packet.Kind(rawValue: first >> 4) else { return nil }
      var length = 0
      var shift = 0
      while let byte = read(1)?.first {
        length |= Int(byte & 0x7f) << shift
        shift += 7
        if byte & 0x80 == 0 {
          guard let body = read(length) else { return nil }
          return Packet(kind: kind, flags: first & 0xf, body: body)
        }
      }
      return nil
    }

    /// Answers CONNECT, in the client's version, with success or another reason code.
    func accept(code: UInt8 = 0, sessionPresent: Bool = false) throws {
      guard let connect = try receive(), connect.kind == .connect, connect.body.count > 6 else { return }
      let flags: UInt8 = sessionPresent ? 1 : 0
      try send(Packet(kind: .connack, body: connect.body[6] == 5 ? [flags, code, 0] : [flags, code]))
    }

    /// Answers every SUBSCRIBE of MQTT 5 on the way and gives the next packet that is another.
    func next() throws -> Packet? {
      while let packet = try receive() {
        guard packet.kind == .subscribe else { return packet }
        try send(Packet(kind: .suback, body: Array(packet.body[..<2]) + [0, 1]))
      }
      return nil
    }

    /// Answers so many SUBSCRIBE packets of MQTT 3.1.1 that carry one filter each.
    func acknowledgeSubscriptions(_ count: Int, granting code: UInt8 = 1) throws {
      for _ in 0..<count {
        guard let packet = try receive(), packet.kind == .subscribe else { return }
        try send(Packet(kind: .suback, body: Array(packet.body[..<2]) + [code]))
      }
    }

    private func read(_ count: Int) -> [UInt8]? {
      var bytes: [UInt8] = []
      while bytes.count < count {
        var chunk = [UInt8](repeating: 0, count: count - bytes.count)
        let n = chunk.withUnsafeMutableBytes { Glibc.recv(fd, $0.baseAddress, $0.count, 0) }
        guard n > 0 else { return nil }
        bytes += chunk[..<n]
      }
      return bytes
    }
  }
}

/// 0, 1, 2, …, for whoever asks.
final class Counter: Sendable {
  private let value = Mutex(0)
  func next() -> Int {
    value.withLock { value in
      defer { value += 1 }
      return value
    }
  }
}
