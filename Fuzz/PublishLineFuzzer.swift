/// Any bytes as a line of the MQTT library's log: not understood, or what it says within its ranges.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPublishLine(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = UnsafeRawBufferPointer(start: start, count: count)
  guard let line = PublishLine(bytes) else { return 0 }
  require(line.qos <= 2, "a QoS of \(line.qos)")
  // What stands behind does not matter: the library cuts long lines.
  let longer = Array(bytes) + Array("' and more".utf8)
  longer.withUnsafeBytes { longer in
    require(PublishLine(longer) == line, "more bytes, another meaning")
  }
  return 0
}
