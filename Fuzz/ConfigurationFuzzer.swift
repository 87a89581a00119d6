// Feeds bytes to the reader of the configuration: the YAML tree and the decoder over it. Whatever the
// bytes, there is a configuration that keeps its promises or a list of errors with places in the file.

import Delivery
import Ingest
import Pipeline
import Telemetry

@testable import forebay

/// A machine whose files depend on their paths only: nothing on the real disk is opened.
private let machine = ConfigurationFiles(
  read: { path, _ in
    switch path.utf8.last {
    case UInt8(ascii: "m"):
      let pem = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"
      return .success(.init(bytes: Array(pem.utf8), isWorldReadable: path.utf8.count % 2 == 0))
    case UInt8(ascii: "x"): return .failure(.missing)
    case UInt8(ascii: "e"): return .success(.init(bytes: [], isWorldReadable: false))
    default: return .success(.init(bytes: Array("secret\n".utf8), isWorldReadable: false))
    }
  },
  kind: { $0.utf8.count % 7 == 0 ? .other : .missing },
  resolved: { $0 },
  volume: { _ in .init(total: 64 << 30, free: 8 << 30) },
  credentialsDirectory: "/run/credentials/forebay.service")

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  do throws(ConfigurationErrors) {
    let configuration = try Configuration.decode(
      .init(path: "/etc/forebay/forebay.yaml", bytes: bytes), shownAs: "f", files: machine)
    precondition(configuration.warnings.allSatisfy { $0.severity == .warning })
    precondition(!configuration.sources.isEmpty)
    let uplinks = configuration.uplinks.map(\.name)
    precondition(configuration.pipelines.allSatisfy { uplinks.contains($0.to) && !$0.from.isEmpty })
    for pipeline in configuration.pipelines {
      precondition(BatchIdentity.isName(pipeline.name))
      for filter in pipeline.from {
        precondition((try? TopicFilter(parsing: filter.description)) == filter)
      }
    }
    _ = configuration.summary
    _ = configuration.summaryJSON
    check(configuration.warnings, in: bytes)
  } catch {
    precondition(!error.errors.isEmpty)
    precondition(error.diagnostics.count <= DiagnosticCollector.limit + 1)
    check(error.diagnostics, in: bytes)
  }
  return 0
}

/// Places lie in the file, and what is printed is bounded and has no control characters.
private func check(_ diagnostics: [ConfigurationDiagnostic], in bytes: [UInt8]) {
  for diagnostic in diagnostics {
    if let place = diagnostic.place {
      precondition(place.line >= 1 && place.line <= bytes.count + 1)
      precondition(place.column >= 1 && place.column <= bytes.count + 1)
    }
    precondition(diagnostic.json.utf8.count < 64 << 10)
  }
  let report = ConfigurationErrors.report(diagnostics, in: bytes)
  precondition(report.utf8.count < 4 << 20)
  precondition(report.utf8.allSatisfy { $0 >= 0x20 || $0 == 0x0A })
}
