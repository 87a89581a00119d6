import Telemetry

/// Any text as a `traceparent`: refused, or written again with the same trace and span.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTraceContext(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let text = String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
  guard let context = TraceContext(text) else { return 0 }
  let written = context.description
  require(written.utf8.count == 55 && written.hasPrefix("00-"), "version 00 is written")
  require(written.dropFirst(2).prefix(50) == text.dropFirst(2).prefix(50), "\(text) became \(written)")
  require(TraceContext(written) == context, "it reads back")
  require(context.trace.high | context.trace.low != 0 && context.span.rawValue != 0, "ids are not all zero")
  return 0
}
