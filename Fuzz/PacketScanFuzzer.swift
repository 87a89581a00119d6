/// Any bytes as what a broker has sent: the scan stays within them and lets nothing pass that is too large.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPacketScan(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = UnsafeRawBufferPointer(start: start, count: count)
  let publishLimit = 1 << 10
  let controlLimit = 64
  let scan = PacketScan(bytes, publishLimit: publishLimit, controlLimit: controlLimit)
  // A packet has two bytes at least.
  require(scan.packets >= 0 && scan.packets * 2 <= count, "\(scan.packets) packets in \(count) bytes")
  switch scan.rest {
  case .tooLarge(let announced, let limit):
    require(announced > limit, "\(announced) bytes are not over \(limit)")
    require(limit == publishLimit || limit == controlLimit, "nobody set a limit of \(limit)")
  case .nothing, .header, .publish, .control, .malformed: break
  }
  // The same packets with more behind them are the same packets.
  let longer = Array(bytes) + [0xC0, 0x00]
  longer.withUnsafeBytes { longer in
    let again = PacketScan(longer, publishLimit: publishLimit, controlLimit: controlLimit)
    require(again.packets >= scan.packets, "more bytes, fewer packets")
    if scan.rest == .nothing { require(again.packets == scan.packets + 1, "a PINGREQ is a packet") }
  }
  return 0
}
