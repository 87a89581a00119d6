import Telemetry

/// Documents that come from other programs: a fleet's inventory, the status of a gateway, a request over the local
/// socket, a recorded series. Each is read within its bounds, or refused with words that are fit for a terminal.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDocument(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let kind = bytes.first else { return 0 }
  let rest = Array(bytes.dropFirst())
  switch kind {
  case UInt8(ascii: "I"): inventory(rest)
  case UInt8(ascii: "S"): status(rest)
  case UInt8(ascii: "R"): request(rest)
  case UInt8(ascii: "C"): series(rest)
  default: break
  }
  return 0
}

private func isPlain(_ text: String) -> Bool { text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } }

private func inventory(_ bytes: [UInt8]) {
  do throws(ConfigurationErrors) {
    let (targets, _) = try FleetInventory.read(bytes, file: "/f/fleet.yaml")
    require(!targets.isEmpty, "an inventory of nobody")
    require(Set(targets.map(\.url)).count == targets.count, "a gateway twice")
    for target in targets {
      require((1...65_535).contains(target.port) && !target.host.isEmpty, "\(target.url) is nowhere")
      for name in [target.name, target.site] { require(name.map(BatchIdentity.isName) ?? true, "no name") }
    }
  } catch {
    require(!error.errors.isEmpty, "refused without an error")
    let report = ConfigurationErrors.report(error.diagnostics, in: bytes)
    require(report.utf8.count < 4 << 20, "a report without end")
    require(report.utf8.allSatisfy { $0 >= 0x20 || $0 == 0x0A }, "a control character in the report")
  }
}

private func status(_ bytes: [UInt8]) {
  do throws(InvalidStatus) {
    let status = try PulledStatus(body: bytes)
    require(BatchIdentity.isName(status.gateway), "no name")
    require(
      status.alarms.count <= PulledStatus.mostListed && status.objectives.count <= PulledStatus.mostListed, "more")
    require((0...PulledStatus.mostAlarms).contains(status.pages), "\(status.pages) pages")
  } catch {
    require(isPlain(error.reason), "a control character in the reason")
    require(error.reason.utf8.count < 2_000, "a reason without end")
  }
}

private func request(_ bytes: [UInt8]) {
  guard let request = LocalRequest(line: bytes) else { return }
  require(LocalRequest(line: request.line) == request, "a request does not read back")
}

private func series(_ bytes: [UInt8]) {
  guard let series = try? SeriesCSV(bytes, path: "a/b.csv") else { return }
  for row in 0..<min(series.count, 64) { require(!series.value(row).isEmpty, "a row without a value") }
}
