import Glibc
import TestSupport

/// An MQTT 5 client that sends whatever bytes it is told to: what no library would.
final class RawDevice {
  struct Trouble: Error, CustomStringConvertible {
    var description: String
  }

  /// What became of something that was sent.
  enum Answer: Equatable {
    /// PUBACK, or the answer to a PINGREQ behind a message at QoS 0.
    case accepted
    /// A reason code from 0x80 on in a PUBACK, or the connection ended.
    case refused
  }

  private let fd: Int32
  private var received: [UInt8] = []
  private var nextID = 1

  /// Connects to a broker on 127.0.0.1 with a clean session.
  init(port: Int, clientID: String) throws {
    fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard withLoopback(port: port, { connect(fd, $0, $1) }) == 0 else { throw POSIXFailure("connect", "127.0.0.1") }
    var yes: Int32 = 1
    setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    try send(
      RawDevice.packet(
        0x10, RawDevice.text("MQTT") + [5, 2, 0, 0, 0] + RawDevice.text(clientID)))
    guard case .packet(let type, _, let body) = receive(), type == 2, body.count > 1, body[1] == 0 else {
      throw Trouble(description: "the broker refused \(clientID)")
    }
  }

  deinit { close(fd) }

  // MARK: Bytes

  static func text(_ bytes: some Collection<UInt8>) -> [UInt8] {
    [UInt8(truncatingIfNeeded: bytes.count >> 8), UInt8(truncatingIfNeeded: bytes.count)] + bytes
  }

  static func text(_ text: String) -> [UInt8] { self.text(Array(text.utf8)) }

  static func length(_ value: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = value
    repeat {
      bytes.append(UInt8(rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
      rest >>= 7
    } while rest > 0
    return bytes
  }

  static func packet(_ first: UInt8, _ body: [UInt8]) -> [UInt8] { [first] + length(body.count) + body }

  static func publish(
    _ topic: [UInt8], _ payload: [UInt8], properties: [UInt8] = [], id: Int?, retained: Bool = false
  ) -> [UInt8] {
    let number = id.map { [UInt8($0 >> 8), UInt8($0 & 0xff)] } ?? []
    return packet(
      0x30 | (id == nil ? 0 : 2) | (retained ? 1 : 0),
      text(topic) + number + length(properties.count) + properties + payload)
  }

  // MARK: The connection

  func send(_ bytes: [UInt8]) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { throw POSIXFailure("send", "broker") }
      rest = rest.dropFirst(count)
    }
  }

  /// Publishes and waits for what the broker says to it.
  func publish(_ topic: [UInt8], _ payload: [UInt8], properties: [UInt8] = [], qos: Int = 1) throws -> Answer {
    let id = qos == 0 ? nil : nextID
    nextID = nextID % 65_535 + 1
    return try exchange(RawDevice.publish(topic, payload, properties: properties, id: id), acknowledged: qos > 0)
  }

  /// Sends bytes; a PINGREQ behind them shows that the broker has read them and still talks to us.
  func exchange(_ bytes: [UInt8], acknowledged: Bool = false) throws -> Answer {
    // A broker that has closed already gives an error here: refused, too.
    do { try send(bytes + (acknowledged ? [] : [0xC0, 0])) } catch { return .refused }
    while true {
      switch receive() {
      case .packet(4, _, let body) where acknowledged: return body.count > 2 && body[2] >= 0x80 ? .refused : .accepted
      case .packet(13, _, _) where !acknowledged: return .accepted
      case .packet(14, _, _), .closed: return .refused
      case .packet: break
      case .silence: throw Trouble(description: "the broker is silent")
      }
    }
  }

  /// Publishes many messages, up to `window` of them not acknowledged, and returns when all are.
  func flood(_ count: Int, qos: Int = 1, window: Int = 500, _ make: (Int) -> (topic: [UInt8], payload: [UInt8])) throws
  {
    var open = 0
    var sent = 0
    while sent < count || open > 0 {
      var bytes: [UInt8] = []
      while sent < count, open < window || qos == 0, bytes.count < 1 << 18 {
        let (topic, payload) = make(sent)
        bytes += RawDevice.publish(topic, payload, id: qos == 0 ? nil : nextID)
        nextID = nextID % 65_535 + 1
        sent += 1
        if qos > 0 { open += 1 }
      }
      try send(bytes)
      // Down to half, so that packets travel together.
      while open > (sent < count ? window / 2 : 0) {
        guard case .packet(let type, _, _) = receive(), type != 14 else {
          throw Trouble(description: "the broker is gone")
        }
        if type == 4 { open -= 1 }
      }
    }
    if qos == 0, try exchange([], acknowledged: false) == .refused { throw Trouble(description: "the broker is gone") }
  }

  private enum Event {
    case packet(type: UInt8, flags: UInt8, body: [UInt8])
    case closed
    case silence
  }

  /// The next packet of the broker.
  private func receive() -> Event {
    while true {
      if let event = whole() { return event }
      var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
      guard poll(&entry, 1, 30_000) > 0 else { return .silence }
      var chunk = [UInt8](repeating: 0, count: 65_536)
      let count = chunk.withUnsafeMutableBytes { recv(fd, $0.baseAddress, $0.count, 0) }
      guard count > 0 else { return .closed }
      received += chunk[..<count]
    }
  }

  /// The packet at the beginning of what was received, if it is whole.
  private func whole() -> Event? {
    var length = 0
    var header = 1
    while true {
      guard header < received.count, header < 6 else { return nil }
      let byte = received[header]
      length |= Int(byte & 0x7f) << (7 * (header - 1))
      header += 1
      if byte & 0x80 == 0 { break }
    }
    guard received.count >= header + length else { return nil }
    defer { received.removeFirst(header + length) }
    return .packet(
      type: received[0] >> 4, flags: received[0] & 0xf, body: Array(received[header..<header + length]))
  }
}
