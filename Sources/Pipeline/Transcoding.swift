/// Turns payloads of another format than JSON into JSON; everything behind the decoder knows JSON only.
package protocol Transcoder: Sendable {
  /// Appends one JSON array of objects, one for each reading, without whitespace outside of strings. Numbers
  /// keep every digit, texts are UTF-8.
  /// - Parameter received: wall nanoseconds of the receipt, for formats whose times are relative to it.
  /// - Throws: why the payload is refused; what was appended before means nothing then.
  mutating func transcode(
    _ payload: UnsafeRawBufferPointer, received: Int64, into output: inout [UInt8]
  ) throws(Refusal)
}
