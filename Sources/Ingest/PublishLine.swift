/// What libmosquitto's debug log says of a PUBLISH that it has read:
/// `Client ID received PUBLISH (d1, q1, r0, m7, 'topic', ... (12 bytes))`. Pure.
///
/// The library shows the DUP flag nowhere else. Its log is no interface: a line of any other form is not
/// understood, and what it announced is then taken for new, for a duplicate is better than a loss.
package struct PublishLine: Sendable, Hashable {
  package var isDuplicate: Bool
  /// 0...2
  package var qos: UInt8
  /// 0 at QoS 0.
  package var packetID: UInt16

  package init(isDuplicate: Bool, qos: UInt8, packetID: UInt16) {
    self.isDuplicate = isDuplicate
    self.qos = qos
    self.packetID = packetID
  }

  /// Nil for a line of another form. Only what stands before the topic is read: the library cuts long
  /// lines, and a topic may contain anything.
  package init?(_ line: UnsafeRawBufferPointer) {
    var rest = Scanner(bytes: line[...])
    guard rest.skip("Client "), rest.skipPast(" received PUBLISH (d"),
      let dup = rest.number(atMost: 1), rest.skip(", q"), let qos = rest.number(atMost: 2),
      rest.skip(", r"), rest.number(atMost: 1) != nil, rest.skip(", m"),
      let packetID = rest.number(atMost: Int(UInt16.max)), rest.skip(", \'")
    else { return nil }
    isDuplicate = dup == 1
    self.qos = UInt8(qos)
    self.packetID = UInt16(packetID)
  }

  private struct Scanner {
    var bytes: Slice<UnsafeRawBufferPointer>

    mutating func skip(_ text: StaticString) -> Bool {
      let text = UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
      guard bytes.starts(with: text) else { return false }
      bytes = bytes.dropFirst(text.count)
      return true
    }

    /// To behind the first place where the text stands.
    mutating func skipPast(_ text: StaticString) -> Bool {
      while !bytes.isEmpty {
        if skip(text) { return true }
        bytes = bytes.dropFirst()
      }
      return false
    }

    mutating func number(atMost limit: Int) -> Int? {
      var value: Int?
      while let byte = bytes.first, byte >= 0x30, byte <= 0x39 {
        let next = (value ?? 0) * 10 + Int(byte - 0x30)
        guard next <= limit else { return nil }
        value = next
        bytes = bytes.dropFirst()
      }
      return value
    }
  }
}
