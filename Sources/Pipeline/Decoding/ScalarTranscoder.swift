/// Payloads that are one number, one text, `true` or `false`: `{"value":…}`.
///
/// A number is what JSON calls one, and a boolean is `true` or `false`; white space around them, which
/// scripts like to add, does not matter. Everything else is a text and stays as it is, white space
/// included. A payload without anything but white space is refused: it is how a retained message is deleted.
package struct ScalarTranscoder: Transcoder {
  package struct Settings: Sendable, Hashable {
    /// Whether `21,5` is the number 21.5; `21.5` is a text then.
    package var decimalComma = false
    package var characterSet: CharacterSet = .utf8

    package init() {}
  }

  private let settings: Settings

  package init(settings: Settings = Settings()) {
    self.settings = settings
  }

  package mutating func transcode(
    _ payload: UnsafeRawBufferPointer, received: Int64, into output: inout [UInt8]
  ) throws(Refusal) {
    try settings.characterSet.withUTF8(payload) { text throws(Refusal) in
      func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || 0x09...0x0D ~= byte }
      guard let start = text.firstIndex(where: { !isSpace($0) }), let end = text.lastIndex(where: { !isSpace($0) })
      else {
        throw Refusal(.scalarEmpty, "the payload holds no value; an empty message deletes a retained one")
      }
      let value = UnsafeRawBufferPointer(rebasing: text[start...end])
      output.append(#"[{"value":"#)
      if value.elementsEqual("true".utf8) || value.elementsEqual("false".utf8) {
        output.append(contentsOf: value)
      } else if !JSONText.appendNumber(value, decimalComma: settings.decimalComma, to: &output) {
        output.append(jsonString: text)
      }
      output.append("}]")
    }
  }
}
