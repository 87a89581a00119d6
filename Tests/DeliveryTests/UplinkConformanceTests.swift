import Compression
@testable import Delivery
import Glibc
import Synchronization
import Telemetry
import TestSupport
import Testing

/// What a batch is delivered to, with its uplink; survives a restart of both.
protocol UplinkBackend: AnyObject, Sendable {
  /// Starts it, or starts it again where it left off.
  func start() async throws -> any Uplink
  func stop() async throws
  /// The lines that have arrived, in any order; only while stopped.
  func lines() throws -> [String]
}

/// The receiver in Python, over HTTP.
final class PythonBackend: UplinkBackend {
  private let directory: TemporaryDirectory
  private let running = Mutex<(receiver: ChildProcess, uplink: HTTPUplink)?>(nil)
  private static let script =
    "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
    + "/EndToEndTests/receiver.py"

  init() throws { directory = try TemporaryDirectory("python") }

  func start() async throws -> any Uplink {
    let output = directory.file("output")
    unlink(output)
    let receiver = try ChildProcess("python3", [Self.script, "0", directory.file("store")], output: output)
    let started = try await eventually { () async in TemporaryDirectory.read(output).hasSuffix("\n") }
    try #require(started, "\(TemporaryDirectory.read(output))")
    let port = TemporaryDirectory.read(output).filter { $0 != "\n" }
    let uplink = Sample.uplink("http://127.0.0.1:\(port)/v1/batches")
    running.withLock { $0 = (receiver, uplink) }
    return uplink
  }

  func stop() async throws {
    let pair = running.withLock { pair in
      defer { pair = nil }
      return pair
    }
    await pair?.uplink.shutdown()
    pair?.receiver.signal(SIGKILL)
    _ = pair?.receiver.wait()
  }

  func verdict() throws -> String {
    try ChildProcess.run("python3", [Self.script, "--verify", directory.file("store")]).output
  }

  func lines() throws -> [String] {
    try ChildProcess.run(
      "python3",
      [
        "-c", "import json,sys\nfor r in open(sys.argv[1]):\n sys.stdout.write(''.join(json.loads(r).get('text',[])))",
        directory.file("store"),
      ]
    ).output.split(separator: "\n").map(String.init)
  }
}

final class FileBackend: UplinkBackend {
  private let directory: TemporaryDirectory
  private let uplink = Mutex<FileUplink?>(nil)

  init() throws { directory = try TemporaryDirectory("files") }

  func start() async throws -> any Uplink {
    var settings = UplinkSettings.File(directory: directory.file("out"))
    settings.maximumBytes = 500
    let fresh = FileUplink(settings: settings, wall: wall)
    uplink.withLock { $0 = fresh }
    return fresh
  }

  func stop() async throws { await uplink.withLock { $0 }?.shutdown() }

  func lines() throws -> [String] {
    let out = directory.file("out")
    return try DiskCalls().names(in: out).filter { $0 != ".forebay" }.flatMap { name in
      let bytes = Files.read("\(out)/\(name)")
      let text = name.hasSuffix(".gz") ? try Gzip.decompress(bytes, maximumOutput: 1 << 24) : bytes
      return try Files.lines(text, named: name)
    }
  }
}

extension RealIO {
  /// One test body, run against every uplink with its real counterpart.
  @Suite("Every uplink")
  struct UplinkConformanceTests {
    enum Kind: String, CaseIterable, Sendable {
      case http, file

      func make() throws -> any UplinkBackend {
        switch self {
        case .http: try PythonBackend()
        case .file: try FileBackend()
        }
      }
    }

    private static func lines(_ batches: [Batch]) throws -> [String] {
      try batches.flatMap { batch in
        String(decoding: try Splitting.body(of: batch), as: UTF8.self).split(separator: "\n").map(String.init)
      }.sorted()
    }

    @Test("takes each batch once, however often it is sent, also after a restart", arguments: Kind.allCases)
    func once(_ kind: Kind) async throws {
      let backend = try kind.make()
      let batches =
        Sample.chain(12) + Sample.chain(3, pipeline: "plain", compression: .none)
        + Sample.chain(5, pipeline: "columns", encoding: .columns)
        + Sample.chain(2, pipeline: "plain-columns", compression: .none, encoding: .columns)
      for round in 0..<3 {
        let uplink = try await backend.start()
        for batch in batches { #expect(await uplink.send(batch, attempt: round + 1) == .hasIt) }
        try await backend.stop()
        #expect(try backend.lines().sorted() == Self.lines(batches))
      }
    }

    @Test("takes batches in any order, several at a time", arguments: Kind.allCases)
    func anyOrder(_ kind: Kind) async throws {
      let backend = try kind.make()
      let batches = Sample.chain(30)
      let uplink = try await backend.start()
      await withTaskGroup(of: Void.self) { group in
        for batch in batches.reversed() + batches {
          group.addTask { #expect(await uplink.send(batch, attempt: 1) == .hasIt) }
        }
      }
      try await backend.stop()
      #expect(try backend.lines().sorted() == Self.lines(batches))
    }

    @Test(
      "takes each line once when parts and wholes of a batch are mixed",
      arguments: Kind.allCases, BatchEncoding.allCases)
    func partsAndWholes(_ kind: Kind, _ encoding: BatchEncoding) async throws {
      let backend = try kind.make()
      let wholes = Sample.chain(4, count: 7, encoding: encoding)
      var uplink = try await backend.start()
      for (index, whole) in wholes.enumerated() {
        let halves = try Splitting.halves(of: whole)
        let quarters = try halves.flatMap { try Splitting.halves(of: $0) }
        let order: [Batch] =
          switch index {
          case 0: [whole] + halves + quarters
          case 1: [halves[1], whole, quarters[0]]
          case 2: [quarters[2], halves[0], halves[1], whole]
          default: [quarters[3], quarters[0], quarters[2], quarters[1]]
          }
        for batch in order { #expect(await uplink.send(batch, attempt: 1) == .hasIt, "\(batch.identity)") }
        try await backend.stop()
        uplink = try await backend.start()
      }
      try await backend.stop()
      #expect(try backend.lines().sorted() == Self.lines(wholes))
    }

    @Test("tells an identity that exists with another body", arguments: Kind.allCases)
    func conflict(_ kind: Kind) async throws {
      let backend = try kind.make()
      let uplink = try await backend.start()
      let batch = Sample.batch(1)
      #expect(await uplink.send(batch, attempt: 1) == .hasIt)
      let other = Sample.batch(1, text: "{\"other\":0}\n{}\n{}\n")
      #expect(await uplink.send(other, attempt: 1) == .identityConflict(held: batch.digest))
      #expect(
        await uplink.send(try Splitting.halves(of: other)[0], attempt: 1) == .identityConflict(held: batch.digest))
      try await backend.stop()
      #expect(try backend.lines().sorted() == Self.lines([batch]))
    }

    @Test("the receiver written from the protocol's page finds the chain complete, and its gaps")
    func chainVerdict() async throws {
      let backend = try PythonBackend()
      let uplink = try await backend.start()
      let batches = Sample.chain(6, count: 4)
      for batch in batches[..<2] { #expect(await uplink.send(batch, attempt: 1) == .hasIt) }
      for part in try Splitting.halves(of: batches[2]) { #expect(await uplink.send(part, attempt: 1) == .hasIt) }
      let chain = "gw-1/climate/0123456789abcdef"
      #expect(
        try backend.verdict() == """
          {"complete": true, "chains": [{"chain": "\(chain)", "highest": 3, "readings": 12, "missing": [], \
          "partial": [], "refused": 0, "faults": []}]}

          """)
      #expect(await uplink.send(try Splitting.halves(of: batches[5])[1], attempt: 1) == .hasIt)
      // It does not know zstd: refused, and accounted for.
      let refused = Sample.batch(5, count: 4, previous: batches[3].digest, compression: .zstd)
      #expect(await uplink.send(refused, attempt: 1).kind == .refused)
      #expect(
        try backend.verdict() == """
          {"complete": false, "chains": [{"chain": "\(chain)", "highest": 6, "readings": 14, \
          "missing": [[4, 4]], "partial": [{"sequence": 6, "missing": [[0, 2]]}], "refused": 4, "faults": []}]}

          """)
      // One that contradicts its neighbour is not taken.
      let stray = Sample.batch(4, previous: Digest(of: [1]))
      #expect(await uplink.send(stray, attempt: 1) == .identityConflict(held: batches[2].digest))
      try await backend.stop()
    }
  }
}
