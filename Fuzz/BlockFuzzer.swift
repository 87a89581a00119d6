import Telemetry

/// Any bytes as the body and the origins of a block of the log: refused, or read and written again alike.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzBlock(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeRawBufferPointer(start: start, count: count))
  _ = try? BlockCodec.decodeOrigins(bytes, first: 0, count: 1)
  if let origins = try? BlockCodec.parseOrigins(bytes) {
    let again = try? BlockCodec.decodeOrigins(
      BlockCodec.encodeOrigins(origins, first: 5, count: 7), first: 5, count: 7)
    require(again == origins, "origins read back")
  }
  guard let messages = bytes.first else { return 0 }
  let origins = [Origin(source: "floor", topic: "a/b"), Origin(source: "floor", topic: "a/c")]
  let body = Array(bytes.dropFirst())
  let boot = BootID(high: 1, low: 2)
  guard
    let group = try? BlockCodec.decodeBody(
      body, count: Int(messages), boot: boot, monotonic: 0, wall: 0, origins: origins)
  else { return 0 }
  require(group.count == Int(messages), "as many messages as were announced")
  guard let first = group.entries.first else { return 0 }
  let again = try? BlockCodec.decodeBody(
    BlockCodec.encodeBody(group), count: group.count, boot: boot, monotonic: first.monotonic, wall: first.wall,
    origins: origins)
  require(again == group, "a body reads back")
  return 0
}
