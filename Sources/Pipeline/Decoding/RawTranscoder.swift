/// Payloads that nobody looks into: `{"base64":"…"}`, RFC 4648, section 4, with padding.
package struct RawTranscoder: Transcoder {
  package init() {}

  /// Never refuses.
  package mutating func transcode(
    _ payload: UnsafeRawBufferPointer, received: Int64, into output: inout [UInt8]
  ) throws(Refusal) {
    output.append(#"[{"base64":""#)
    output.append(base64: payload, url: false)
    output.append(#""}]"#)
  }
}
