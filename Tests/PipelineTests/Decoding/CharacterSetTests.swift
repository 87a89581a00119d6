import Foundation
import Pipeline
// Foundation has one as well.
import enum Pipeline.CharacterSet
import Testing

private func convert(_ set: CharacterSet, _ bytes: [UInt8]) -> Result<[UInt8], Refusal> {
  bytes.withUnsafeBytes { bytes in
    do throws(Refusal) { return .success(try set.utf8(from: bytes)) } catch { return .failure(error) }
  }
}

@Suite("Character sets")
struct CharacterSetTests {
  private static func foundation(_ set: CharacterSet) -> String.Encoding {
    switch set {
    case .utf8: .utf8
    case .latin1: .isoLatin1
    case .windows1252: .windowsCP1252
    case .utf16: .utf16
    case .utf16LittleEndian: .utf16LittleEndian
    case .utf16BigEndian: .utf16BigEndian
    }
  }

  @Test("Each byte of ISO 8859-1 and Windows-1252 is what Foundation takes it for, and five are refused")
  func singleBytes() {
    var refused: [UInt8] = []
    for byte in UInt8.min...UInt8.max {
      let expected = Unicode.Scalar(byte)
      #expect(try! convert(.latin1, [byte]).get() == Array(String(expected).utf8))
      guard let text = String(data: Data([byte]), encoding: .windowsCP1252),
        text.unicodeScalars.first.map({ !(0x80...0x9F).contains($0.value) }) == true
      else {
        refused.append(byte)
        #expect(convert(.windows1252, [0x41, byte]).error?.reason == "the payload is not windows-1252 (byte 2)")
        continue
      }
      #expect(try! convert(.windows1252, [byte]).get() == Array(text.utf8), "\(byte)")
    }
    #expect(refused == [0x81, 0x8D, 0x8F, 0x90, 0x9D])
  }

  @Test("Texts of all planes come through UTF-16 in both orders, with and without their mark")
  func utf16() throws {
    let text = "a\u{0}é€\u{FFFD}\u{FFFF}𐅑😀\u{10FFFF}\r\n"
    for set in [CharacterSet.utf16LittleEndian, .utf16BigEndian] {
      let bytes = Array(try #require(text.data(using: CharacterSetTests.foundation(set))))
      let mark: [UInt8] = set == .utf16LittleEndian ? [0xFF, 0xFE] : [0xFE, 0xFF]
      #expect(try convert(set, bytes).get() == Array(text.utf8))
      #expect(try convert(set, mark + bytes).get() == Array(text.utf8))
      #expect(try convert(.utf16, mark + bytes).get() == Array(text.utf8))
      #expect(convert(.utf16, bytes).error?.rule == .characterSet)
    }
    #expect(try convert(.utf16, [0xFF, 0xFE]).get() == [])
    #expect(try convert(.utf16LittleEndian, []).get() == [])
    #expect(convert(.utf16, []).error?.rule == .characterSet)
  }

  static let broken: [(set: CharacterSet, bytes: [UInt8])] = [
    (.utf8, [0x61, 0xFF]), (.utf8, [0xC3]), (.utf8, [0xC0, 0x80]), (.utf8, [0xED, 0xA0, 0x80]),
    (.utf8, [0xF4, 0x90, 0x80, 0x80]), (.utf16LittleEndian, [0x61]), (.utf16BigEndian, [0x00, 0x61, 0x00]),
    // Halves of surrogate pairs: at the end, before something else, and the wrong way round.
    (.utf16BigEndian, [0xD8, 0x00]), (.utf16BigEndian, [0xD8, 0x00, 0x00, 0x61]),
    (.utf16BigEndian, [0xDC, 0x00, 0xD8, 0x00]), (.utf16LittleEndian, [0x00, 0xD8, 0x00, 0xD8]),
  ]

  @Test("What is no text in its character set is refused, never replaced", arguments: broken)
  func refusing(set: CharacterSet, bytes: [UInt8]) {
    #expect(convert(set, bytes).error?.rule == .characterSet)
  }

  @Test("UTF-8 stays as it is but for a byte order mark")
  func utf8() throws {
    #expect(try convert(.utf8, Array("\u{FEFF}aé😀\u{FEFF}".utf8)).get() == Array("aé😀\u{FEFF}".utf8))
    #expect(try convert(.utf8, []).get() == [])
  }

  @Test("Text formats read every character set")
  func formats() throws {
    for set in CharacterSet.allCases {
      var encoded = Array(try #require("ort;t\nMühle;-1,5\n".data(using: CharacterSetTests.foundation(set))))
      if set == .utf16, encoded.first != 0xFF { encoded = [0xFE, 0xFF] + encoded }
      var csv = CSVTranscoder.Settings()
      (csv.delimiter, csv.decimalComma, csv.characterSet) = (UInt8(ascii: ";"), true, set)
      #expect(try CSVTranscoder(settings: csv).result(encoded).get() == #"[{"ort":"Mühle","t":-1.5}]"#, "\(set)")
      var scalar = ScalarTranscoder.Settings()
      scalar.characterSet = set
      #expect(try ScalarTranscoder(settings: scalar).result(encoded).get() == #"[{"value":"ort;t\nMühle;-1,5\n"}]"#)
      var line = LineProtocolTranscoder.Settings()
      line.characterSet = set
      let point = Array(try #require("m,ort=Mühle f=1".data(using: CharacterSetTests.foundation(set))))
      #expect(
        try LineProtocolTranscoder(settings: line).result(point).get()
          == #"[{"measurement":"m","tags":{"ort":"Mühle"},"fields":{"f":1}}]"#)
    }
    #expect(CSVTranscoder().result([0x61, 0x0A, 0xFC]).error?.rule == .characterSet)
  }
}
