import Delivery
import Ingest
import Pipeline
import Telemetry

/// A machine whose files depend on their paths only: nothing on the real disk is opened.
private let machine = ConfigurationFiles(
  read: { path, _ in
    switch path.utf8.last {
    case UInt8(ascii: "m"):
      let pem = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"
      return .success(.init(bytes: Array(pem.utf8), isWorldReadable: path.utf8.count % 2 == 0))
    case UInt8(ascii: "x"): return .failure(.missing)
    case UInt8(ascii: "n"):
      let contract = #"{"name":"climate","version":"1.2.0","schema":{"type":"object"}}"#
      return .success(.init(bytes: Array(contract.utf8), isWorldReadable: true))
    case UInt8(ascii: "e"): return .success(.init(bytes: [], isWorldReadable: false))
    default: return .success(.init(bytes: Array("secret\n".utf8), isWorldReadable: false))
    }
  },
  names: { $0.utf8.count % 5 == 0 ? .failure(.missing) : .success(["climate@1.0.0.json", "climate@1.2.0.json"]) },
  kind: { $0.utf8.count % 7 == 0 ? .other : .missing },
  obstacle: { $0.utf8.count % 11 == 0 ? .notAFolder($0) : nil },
  resolved: { $0 },
  volume: { _ in .init(total: 64 << 30, free: 8 << 30) },
  credentialsDirectory: "/run/credentials/forebay.service")

/// The reader of the configuration: the YAML tree and the decoder over it. Whatever the bytes, there is a
/// configuration that keeps its promises, or a list of errors with places in the file.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  checkKept(bytes)
  do throws(ConfigurationErrors) {
    let configuration = try Configuration.decode(
      .init(path: "/etc/forebay/forebay.yaml", bytes: bytes), shownAs: "f", files: machine)
    require(configuration.warnings.allSatisfy { $0.severity == .warning }, "a configuration with an error")
    require(!configuration.sources.isEmpty, "no source")
    let uplinks = configuration.uplinks.map(\.name)
    require(
      configuration.pipelines.allSatisfy { uplinks.contains($0.to) && !$0.from.isEmpty },
      "a pipeline from or to nowhere")
    for pipeline in configuration.pipelines {
      require(BatchIdentity.isName(pipeline.name), "no name: \(pipeline.name)")
      for filter in pipeline.from {
        require((try? TopicFilter(parsing: filter.description)) == filter, "\(filter) does not read back")
      }
    }
    _ = configuration.summary
    _ = configuration.summaryJSON
    check(configuration.warnings, in: bytes)
  } catch {
    require(!error.errors.isEmpty, "refused without an error")
    require(error.diagnostics.count <= DiagnosticCollector.limit + 1, "too many diagnostics")
    check(error.diagnostics, in: bytes)
  }
  return 0
}

/// The same bytes as a configuration that is kept, and as what a worn card has made of one, with a checksum that fits.
private func checkKept(_ bytes: [UInt8]) {
  let origin = Configuration.Origin(
    path: "/etc/forebay/forebay.yaml", bytes: bytes,
    attachments: [Attachment(path: "/etc/forebay/a b.json", digest: Digest(of: bytes))])
  require(Configuration.Origin(kept: origin.kept) == origin, "a kept configuration does not read back")
  let length = bytes.prefix(2).reduce(0) { $0 << 8 | Int($1) }
  let mark = "\n# forebay-kept: bytes=\(length) sha256=\(Digest(of: bytes)) path=/f\n"
  if let kept = Configuration.Origin(kept: bytes + Array(mark.utf8)) {
    require(kept.bytes == Array(bytes.prefix(length)), "other bytes than were kept")
  }
}

/// Places lie in the file, and what is printed is bounded and has no control characters.
private func check(_ diagnostics: [ConfigurationDiagnostic], in bytes: [UInt8]) {
  for diagnostic in diagnostics {
    if let place = diagnostic.place {
      require(place.line >= 1 && place.line <= bytes.count + 1, "\(place) is not in the file")
      require(place.column >= 1 && place.column <= bytes.count + 1, "\(place) is not in the file")
    }
    require(diagnostic.json.utf8.count < 64 << 10, "a diagnostic without end")
  }
  let report = ConfigurationErrors.report(diagnostics, in: bytes)
  require(report.utf8.count < 4 << 20, "a report without end")
  require(report.utf8.allSatisfy { $0 >= 0x20 || $0 == 0x0A }, "a control character in the report")
}
