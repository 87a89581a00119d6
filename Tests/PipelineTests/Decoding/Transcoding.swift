import Foundation
import Pipeline
import Testing

/// The folders beside `json/test_parsing`.
enum Vectors {
  static let root = JSONVectors.folder.deletingLastPathComponent().deletingLastPathComponent()

  static func exist(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: root.appendingPathComponent(path).path)
  }

  static func json(_ path: String) throws -> Any {
    try JSONSerialization.jsonObject(with: Data(contentsOf: root.appendingPathComponent(path)))
  }
}

extension Transcoder {
  /// What one payload becomes, checked to be what every transcoder promises: one array of objects, valid,
  /// without whitespace, behind what was there before.
  func result(_ payload: [UInt8], received: Int64 = 0) -> Result<String, Refusal> {
    var transcoder = self
    var output: [UInt8] = [0x23]
    let outcome: Result<Void, Refusal> = payload.withUnsafeBytes { payload in
      do throws(Refusal) {
        return .success(try transcoder.transcode(payload, received: received, into: &output))
      } catch { return .failure(error) }
    }
    return outcome.map {
      #expect(output.first == 0x23)
      let text = Array(output.dropFirst())
      let tape = try? read(text).get()
      #expect(tape != nil, "not JSON")
      if let tape {
        #expect(tape.root.kind == .array && !tape.hasWhitespace)
        var child = 1
        while child < tape.root.next {
          #expect(tape.values[child].kind == .object)
          child = tape.values[child].next
        }
      }
      return String(decoding: text, as: UTF8.self)
    }
  }

  func json(_ payload: String, received: Int64 = 0) -> String? {
    try? result(Array(payload.utf8), received: received).get()
  }

  func rule(_ payload: String) -> Refusal.Rule? { result(Array(payload.utf8)).error?.rule }

  /// Every beginning of a payload is taken or refused, never a crash.
  func takesCuts(of payload: [UInt8]) {
    for length in 0..<payload.count { _ = result(Array(payload.prefix(length))) }
  }

  /// Every byte replaced, one at a time, by some that mean something somewhere.
  func takesDamage(to payload: [UInt8]) {
    for index in payload.indices {
      for byte: UInt8 in [0x00, 0x0A, 0x22, 0x5B, 0x5C, 0x7F, 0x80, 0xFF] {
        var damaged = payload
        damaged[index] = byte
        _ = result(damaged)
      }
    }
  }
}

extension [UInt8] {
  init(hex: String) {
    let digits = hex.filter(\.isHexDigit)
    self = stride(from: 0, to: digits.count, by: 2).compactMap { offset in
      let start = digits.index(digits.startIndex, offsetBy: offset)
      return UInt8(digits[start..<digits.index(start, offsetBy: 2)], radix: 16)
    }
  }
}
