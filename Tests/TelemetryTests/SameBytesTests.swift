import Telemetry
import Testing

@Suite("Same bytes")
struct SameBytesTests {
  private func same(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.withUnsafeBytes { a in b.withUnsafeBytes { haveSameBytes(a, $0) } }
  }

  @Test("A difference is seen at every place of every length")
  func places() {
    for length in 0..<34 {
      let bytes = (0..<length).map { UInt8($0 * 7 % 251) }
      #expect(same(bytes, Array(bytes)))
      #expect(!same(bytes, bytes + [0]) && !same(bytes + [0], bytes))
      for place in 0..<length {
        for bit in [UInt8(1), 0x80] {
          var other = bytes
          other[place] ^= bit
          #expect(!same(bytes, other) && !same(other, bytes))
        }
      }
    }
  }

  @Test("Texts are the same by their bytes, not by their characters")
  func texts() {
    for text in ["", "a", "sensors/pump-7/climate", "sensors/pumpe-ä/klima"] {
      #expect(text.hasSameBytes(as: String(decoding: Array(text.utf8), as: UTF8.self)))
      #expect(!text.hasSameBytes(as: text + "x"))
    }
    #expect("\u{E9}" == "e\u{301}" && !"\u{E9}".hasSameBytes(as: "e\u{301}"))
  }
}
