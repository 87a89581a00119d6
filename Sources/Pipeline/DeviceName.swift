/// Device keys for people. Stages remember them as the inside of a JSON string, as they stand in lines.
package enum DeviceName {
  /// The text that a remembered key stands for. Bytes that are no such thing, which only damage leaves in a store,
  /// are taken as they are.
  package static func text(_ key: [UInt8]) -> String {
    guard key.contains(UInt8(ascii: "\\")) else { return String(decoding: key, as: UTF8.self) }
    let quote = UInt8(ascii: "\"")
    let isContent = ([quote] + key + [quote]).withUnsafeBytes { bytes in
      var tape = JSONTape()
      return (try? tape.read(bytes)) != nil && tape.root.kind == .string
    }
    let plain = isContent ? key.withUnsafeBytes { JSONText.unescape($0) } : key
    return String(decoding: plain, as: UTF8.self)
  }
}
