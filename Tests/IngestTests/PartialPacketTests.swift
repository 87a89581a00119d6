import Foundation
import Ingest
import Synchronization
import TestSupport
import Testing

/// A packet may be cut anywhere on its way, and what is there of it may have to wait.
@Suite struct PartialPacketTests {
  /// Bytes that the client of the broker at `port` has received and not read; nil where there is no connection.
  private static func unread(at port: Int) -> Int? {
    let needle = String(format: ":%04X", port)
    for line in TemporaryDirectory.read("/proc/self/net/tcp").split(separator: "\n").dropFirst() {
      // sl, local and remote address, state, tx_queue:rx_queue
      let fields = line.split(separator: " ")
      if fields.count > 4, fields[2].hasSuffix(needle), fields[3] == "01" {
        return fields[4].split(separator: ":").last.flatMap { Int($0, radix: 16) }
      }
    }
    return nil
  }

  @Test("what is there of a packet does not stay in the socket, wherever it is cut, and the rest is read when it comes")
  func pieces() throws {
    let payload = String(repeating: "x", count: 200)
    let publish = FakeBroker.Packet.publish("t/a", Array(payload.utf8), id: 1)
    let body = publish.body
    let port = Mutex(0)
    let stuck = Mutex<Int?>(nil)
    let broker = try FakeBroker { client in
      let port = port.withLock { $0 }
      try client.accept()
      guard let subscribe = try client.receive() else { return }
      let pieces: [[UInt8]] = [
        // SUBACK.
        [0x90], [3], [subscribe.body[0]], [subscribe.body[1], 1],
        // PUBLISH at QoS 1, whose length takes two bytes.
        [0x32], [UInt8(body.count & 0x7f) | 0x80], [UInt8(body.count >> 7)], Array(body[..<50]),
        // Its end; a PUBACK that answers nothing; the beginning of another.
        Array(body[50...]) + [0x40, 2, 0, 7, 0x40, 2], [0],
        // Its end and, at once, a small PUBLISH and the beginning of PINGRESP.
        [8, 0x32, 9, 0, 3] + Array("t/a".utf8) + [0, 2] + Array("ok".utf8) + [0xd0], [0],
      ]
      for (index, piece) in pieces.enumerated() {
        try client.send(piece)
        guard eventually({ PartialPacketTests.unread(at: port) == 0 }) else {
          stuck.withLock { $0 = index }
          return
        }
      }
      while try client.receive() != nil {}
    }
    port.withLock { $0 = broker.port }
    let rig = try Rig([.floor(broker.port) { $0.version = .mqtt311 }])
    #expect(eventually(within: 20) { rig.log.payloads == [payload, "ok"] })
    #expect(stuck.withLock { $0 } == nil, "the piece that stayed in the socket")
    #expect(rig.status()?.reconnects == 0)
  }

  @Test("properties that come in pieces are looked at before the library has them, good ones and bad ones")
  func properties() throws {
    // A user property; the same identifier behind it that MQTT does not know ends libmosquitto's process.
    let head: [UInt8] = [0, 3] + Array("t/a".utf8)
    let user: [UInt8] = [0x26, 0, 1, 0x6B, 0, 1, 0x76]
    let good = head + [0, 1, 7] + user + Array("good".utf8)
    let bad = head + [0, 2, 9] + user + [0x7F, 0] + Array("bad".utf8)
    let number = Counter()
    let port = Mutex(0)
    let broker = try FakeBroker { client in
      let isFirst = number.next() == 0
      try client.accept()
      if isFirst {
        let pieces: [[UInt8]] = [
          [0x32, UInt8(good.count)], Array(good[..<6]), Array(good[6..<10]), Array(good[10..<17]), Array(good[17...]),
          [0x32, UInt8(bad.count)], Array(bad[..<9]),
        ]
        for _ in 0..<2 {
          guard let packet = try client.receive(), packet.kind == .subscribe else { return }
          try client.send(.init(kind: .suback, body: Array(packet.body[..<2]) + [0, 1]))
        }
        for piece in pieces {
          try client.send(piece)
          let port = port.withLock { $0 }
          guard eventually({ PartialPacketTests.unread(at: port) == 0 }) else { return }
        }
        try client.send(Array(bad[9...]))
      } else {
        try client.send(.publish5("t/a", "after", id: 3))
      }
      while try client.next() != nil {}
    }
    port.withLock { $0 = broker.port }
    let rig = try Rig([.floor(broker.port)])
    #expect(eventually(within: 20) { rig.log.payloads.contains("after") }, "\(rig.status()?.fault ?? "no fault")")
    #expect(rig.log.payloads == ["good", "after"])
    #expect(broker.connections == 2)
  }
}
