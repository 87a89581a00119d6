import Compression
import Glibc
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite struct ReceiverServerTests {
  private func receipt(_ batch: FixtureBatch) -> String {
    "{\"identity\":\"\(batch.identity)\",\"digest\":\"\(batch.digest)\"}"
  }

  @Test(
    "a batch is taken once, in every encoding and compression, and a receiver that starts again remembers it",
    arguments: BatchEncoding.allCases, BatchCompression.allCases)
  func once(encoding: BatchEncoding, compression: BatchCompression) async throws {
    let directory = try TemporaryDirectory("receiver")
    let chain = try FixtureBatch.chain([3, 2], encoding: encoding)
    for round in 0..<2 {
      let receiver = try await RunningReceiver(directory)
      #expect(receiver.writer.opening.records == (round == 0 ? 0 : 2))
      for batch in chain {
        for _ in 0..<2 {
          let answer = try receiver.send(batch, compression)
          #expect(answer.status == 200 && answer.isWhole)
          #expect(answer.body == receipt(batch))
        }
      }
      try await receiver.stop()
      #expect(receiver.service.totals.duplicates == (round == 0 ? 2 : 4))
      #expect(try receiver.exported() == chain.flatMap(\.lines))
      #expect(try StoreReading(layout: receiver.layout).verify().isComplete)
    }
  }

  @Test("of a whole batch after some of its parts only the lacking lines are taken, and no part after it")
  func parts() async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"))
    let batch = try FixtureBatch.chain([5])[0]
    let part = try batch.part(2, of: 4)
    #expect(try receiver.send(part).body == receipt(part))
    #expect(receiver.service.totals.readings == 1)
    #expect(try receiver.send(batch).body == receipt(batch))
    #expect(receiver.service.totals.readings == 5)
    let late = try batch.part(1, of: 2)
    #expect(try receiver.send(late).body == receipt(late))
    #expect(receiver.service.totals.readings == 5)
    try await receiver.stop()
    #expect(try receiver.exported() == batch.lines)
  }

  @Test("many senders at once, each batch several times: each reading is there exactly once")
  func concurrent() async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"))
    let chain = try FixtureBatch.chain((0..<60).map { $0 % 4 + 1 })
    var random = SplitMix64(seed: 3)
    let sends = (chain + chain + chain).shuffled(using: &random)
    let statuses = try await withThrowingTaskGroup(of: [Int?].self) { group in
      for sender in 0..<6 {
        group.addTask {
          try stride(from: sender, to: sends.count, by: 6).map { try receiver.send(sends[$0]).status }
        }
      }
      var all: [Int?] = []
      for try await part in group { all += part }
      return all
    }
    #expect(statuses.count == 180 && statuses.allSatisfy { $0 == 200 })
    try await receiver.stop()
    #expect(receiver.service.totals.batches == 60 && receiver.service.totals.duplicates == 120)
    #expect(try receiver.exported() == chain.flatMap(\.lines))
    let report = try StoreReading(layout: receiver.layout).verify()
    #expect(report.isComplete && report.chains.first?.batches == 60)
  }

  struct Wrong: Sendable, CustomTestStringConvertible {
    var fields: [String: String?]
    var status: Int
    /// Whether the gap in the chain is accounted for afterwards.
    var recorded: Bool
    var testDescription: String { "\(fields) -> \(status)" }
  }

  @Test(
    "what is wrong with a request decides the answer, and a final refusal is recorded",
    arguments: [
      Wrong(fields: ["Idempotency-Key": "gw-1/climate/0000000000000007/1"], status: 400, recorded: false),
      Wrong(fields: ["Forebay-Digest": nil], status: 400, recorded: false),
      Wrong(fields: ["Forebay-Count": "-3"], status: 400, recorded: false),
      Wrong(fields: ["Forebay-Parent": "digest=1"], status: 400, recorded: false),
      Wrong(fields: ["Content-Digest": nil], status: 400, recorded: true),
      Wrong(fields: ["Content-Digest": "sha-256=:AAAA:"], status: 503, recorded: false),
      Wrong(fields: ["Content-Type": "text/plain"], status: 415, recorded: true),
      Wrong(fields: ["Content-Encoding": "br"], status: 415, recorded: true),
      Wrong(fields: ["Content-Encoding": "zstd"], status: 400, recorded: true),
      Wrong(fields: ["Forebay-Count": "4"], status: 400, recorded: true),
      Wrong(fields: ["Forebay-Length": "70"], status: 400, recorded: true),
      Wrong(fields: ["Forebay-Length": "5000"], status: 413, recorded: true),
      Wrong(fields: ["Forebay-Previous": String(repeating: "1", count: 64)], status: 422, recorded: true),
    ])
  func wrong(_ wrong: Wrong) async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"), maximumBytes: 1000)
    let batch = try FixtureBatch.chain([3])[0]
    let answer = try receiver.send(batch, fields: wrong.fields)
    #expect(answer.status == wrong.status, "\(answer.body)")
    #expect(answer.body.hasPrefix("{\"error\":\"") && answer.body.contains("\"reason\":\""))
    #expect(try receiver.exported() == [])
    let report = try StoreReading(layout: receiver.layout).verify()
    #expect((report.chains.first?.refused ?? 0 > 0) == wrong.recorded)
    // A refusal is not final: what is right is taken.
    #expect(try receiver.send(batch).status == 200)
    try await receiver.stop()
    #expect(try StoreReading(layout: receiver.layout).verify().isComplete)
  }

  /// Uncompressed bodies, and the error that they are answered with.
  private static let wrongBodies: [(text: String, error: String)] = [
    ("{\"rows\":3,\"tables\":[[1,2]]}\n", "body-damaged"),
    ("{\"rows\":3,\"tables\":[{\"batch\":[1,1,1],\"line\":[0,1,2]}]}", "body-damaged"),
    ("{\"rows\":3,\"tables\":[{\"batch\":[1,1,1],\"lin\":[0,1,2]}]}\n", "length-mismatch"),
    ("{\"rows\":3,\"tables\":[{\"batch\":[1,1,1],\"lines\":[0,1,2]}]}\n", "body-damaged"),
    ("{\"rows\":3,\"tables\":[{\"batch\":[1,1,1],\"line\":[0,1,3]}]}\n", "digest-mismatch"),
    ("{\"rows\":2,\"tables\":[[1234567890123456789012345678901,123456789012345678901234567890]]}\n", "count-mismatch"),
    (String(repeating: "[", count: 1_151), "body-damaged"),
  ]

  @Test("columns that do not give the lines they say are refused, and recorded", arguments: wrongBodies)
  func wrongColumns(_ text: String, _ error: String) async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"))
    let batch = try FixtureBatch.chain([3], encoding: .columns)[0]
    #expect(batch.body.count == 63)
    let request = RawHTTP.request(batch, .gzip, body: try Gzip.compress(Array(text.utf8)))
    let answer = try RawHTTP.send(port: receiver.server.port, request: request)
    #expect(answer.status == (error == "digest-mismatch" ? 422 : 400))
    #expect(answer.body.hasPrefix(#"{"error":"\#(error)","#), "\(answer.body)")
    #expect(try StoreReading(layout: receiver.layout).verify().chains.first?.refused == 3)
    #expect(try receiver.send(batch).status == 200)
    try await receiver.stop()
    #expect(try receiver.exported() == batch.lines)
  }

  @Test("parts and wholes of a batch may come as lines or as columns: each line is taken once")
  func mixedEncodings() async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"))
    let lines = try FixtureBatch.chain([5])[0]
    let columns = try FixtureBatch.chain([5], encoding: .columns)[0]
    #expect(lines.digest == columns.digest)
    for batch in [try columns.part(2, of: 4), try lines.part(2, of: 2), columns, lines, try columns.part(1, of: 2)] {
      #expect(try receiver.send(batch).body == receipt(batch))
    }
    #expect(receiver.service.totals.readings == 5)
    try await receiver.stop()
    #expect(try receiver.exported() == lines.lines)
    #expect(try StoreReading(layout: receiver.layout).verify().isComplete)
  }

  @Test("a body beyond the limit is read to its end and answered 413")
  func tooLong() async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"), maximumBytes: 1000)
    let batch = try FixtureBatch.chain([3])[0]
    let body = [UInt8](repeating: 0x20, count: 3_000_000)
    let answer = try RawHTTP.send(
      port: receiver.server.port, request: RawHTTP.request(batch, .none, body: body))
    #expect(answer.status == 413)
    try await receiver.stop()
  }

  @Test("what is not POST, not HTTP, or comes without the token is refused, and the next is served")
  func strangers() async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"), token: "sesame")
    let batch = try FixtureBatch.chain([3])[0]
    let get = try RawHTTP.send(
      port: receiver.server.port,
      request: RawHTTP.request(batch, .none, body: [], fields: [:], method: "GET"))
    #expect(get.status == 405 && get.fields["allow"] == "POST")
    let noise = try RawHTTP.send(port: receiver.server.port, request: Array("\u{16}\u{3}\r\n\r\n".utf8))
    #expect(noise.status == 400)
    #expect(try receiver.send(batch).status == 401)
    #expect(try receiver.send(batch, fields: ["Authorization": "Bearer sesam"]).status == 401)
    #expect(try receiver.send(batch, fields: ["Authorization": "Bearer sesame"]).status == 200)
    receiver.service.reload(faults: FaultPlan(), tokens: [Secret("new")])
    #expect(try receiver.send(batch, fields: ["Authorization": "Bearer sesame"]).status == 401)
    try await receiver.stop()
  }

  @Test("another body under an identity it holds is an identity conflict that names the digest held")
  func conflict() async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"))
    let batch = try FixtureBatch.chain([3])[0]
    #expect(try receiver.send(batch).status == 200)
    var other = batch
    other.lines[1] = "{}"
    let answer = try receiver.send(other)
    #expect(answer.status == 422)
    #expect(
      answer.body.hasPrefix(
        "{\"error\":\"identity-conflict\",\"identity\":\"\(batch.identity)\",\"digest\":\"\(batch.digest)\""))
    try await receiver.stop()
    #expect(receiver.service.totals.conflicts == 1)
    // A conflict is no refusal.
    #expect(try StoreReading(layout: receiver.layout).verify().isComplete)
  }

  @Test("it fails in every way it is told to, and keeps the batch only where it says so")
  func faults() async throws {
    func first(
      _ rule: String, stores: Bool, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> RawAnswer {
      let receiver = try await RunningReceiver(TemporaryDirectory("receiver"), fail: ["\(rule)"])
      let batch = try FixtureBatch.chain([3])[0]
      let answer = try receiver.send(batch)
      receiver.service.reload(faults: FaultPlan(), tokens: [])
      #expect(try receiver.exported() == (stores ? batch.lines : []), sourceLocation: sourceLocation)
      let again = try receiver.send(batch)
      #expect(again.status == 200 && again.body == receipt(batch), sourceLocation: sourceLocation)
      try await receiver.stop()
      #expect(try receiver.exported() == batch.lines, sourceLocation: sourceLocation)
      #expect(receiver.service.totals.faults == 1, sourceLocation: sourceLocation)
      return answer
    }
    let batch = try FixtureBatch.chain([3])[0]
    for status in [400, 401, 403, 404, 408, 413, 415, 422, 425, 500, 503] {
      #expect(try await first("\(status)x1", stores: false).status == status)
    }
    let throttled = try await first("429:retry-after=7", stores: false)
    #expect(throttled.status == 429 && throttled.fields["retry-after"] == "7")
    let conflict = try await first("conflict", stores: false)
    #expect(conflict.status == 422 && conflict.body.contains("identity-conflict"))
    #expect(!conflict.body.contains(batch.digest.hex))
    let busy = try await first("409", stores: false)
    #expect(busy.status == 409 && !busy.body.contains("digest"))
    let held = try await first("has-it", stores: true)
    #expect(held.status == 409 && held.body == receipt(batch))
    let redirect = try await first("redirect", stores: false)
    #expect(redirect.status == 302 && redirect.fields["location"] != nil)
    let portal = try await first("captive", stores: false)
    #expect(portal.status == 200 && portal.body.hasPrefix("<html>"))
    let half = try await first("half", stores: true)
    #expect(half.status == 200 && !half.isWhole && !half.body.isEmpty)
    #expect(receipt(batch).hasPrefix(half.body))
    let garbage = try await first("garbage", stores: false)
    #expect(garbage.status == nil && !garbage.body.isEmpty)
    let dropped = try await first("drop-after-store", stores: true)
    #expect(dropped.status == nil && dropped.body.isEmpty)
  }

  @Test("silence means that no byte comes and the connection stays")
  func silence() async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"), fail: ["silentx1"])
    let batch = try FixtureBatch.chain([3])[0]
    let request = RawHTTP.request(batch, .none, body: batch.body)
    let begun = monotonicSeconds()
    let answer = try RawHTTP.send(port: receiver.server.port, request: request, seconds: 1)
    #expect(answer == RawAnswer() && monotonicSeconds() - begun >= 0.9)
    #expect(try receiver.send(batch).status == 200)
    try await receiver.stop()
  }

  @Test("the readings that match are refused, one by one once they are split, and nothing is missing")
  func matching() async throws {
    let receiver = try await RunningReceiver(
      TemporaryDirectory("receiver"), fail: ["400:matching=\"line\":1}"])
    let batch = try FixtureBatch.chain([4])[0]
    #expect(try receiver.send(batch).status == 400)
    #expect(try receiver.send(batch.part(1, of: 2)).status == 400)
    #expect(try receiver.send(batch.part(1, of: 4)).status == 200)
    #expect(try receiver.send(batch.part(2, of: 4)).status == 400)
    #expect(try receiver.send(batch.part(2, of: 2)).status == 200)
    try await receiver.stop()
    #expect(try receiver.exported() == [batch.lines[0], batch.lines[2], batch.lines[3]])
    let chain = try #require(try StoreReading(layout: receiver.layout).verify().chains.first)
    #expect(chain.verdict == .complete && chain.refused == 1 && chain.unsplit == 0)
  }

  @Test("over TLS only a sender whose certificate the authority vouches for gets through")
  func mutualTLS() async throws {
    let certificates = try Certificates()
    let context = try ReceiverServer.tls(
      certificate: certificates.server.certificate, key: certificates.server.key,
      clientAuthorities: certificates.authority)
    let directory = try TemporaryDirectory("receiver")
    let receiver = try await RunningReceiver(directory, tls: context)
    let batch = try FixtureBatch.chain([3])[0]
    let request = RawHTTP.request(batch, .none, body: batch.body)
    let input = try TemporaryDirectory("request")
    try input.write(String(decoding: request, as: UTF8.self), to: "bytes")
    func send(_ options: [String]) throws -> String {
      try ChildProcess.run(
        "openssl",
        [
          "s_client", "-connect", "127.0.0.1:\(receiver.server.port)", "-quiet", "-verify_return_error",
          "-CAfile", certificates.authority,
        ] + options,
        input: input.file("bytes")
      ).output
    }
    #expect(try !send([]).contains("HTTP/1.1"))
    #expect(receiver.service.totals.requests == 0)
    let answer = try send(["-cert", certificates.client.certificate, "-key", certificates.client.key])
    #expect(answer.contains("HTTP/1.1 200 OK") && answer.contains(receipt(batch)))
    try await receiver.stop()
  }

  @Test("a disk that is full is answered 503, and after that the receiver goes on with what it has")
  func fullDisk() async throws {
    let directory = try TemporaryDirectory("receiver")
    let isFull = Atomic(false)
    let receiver = try await RunningReceiver(directory) { file, bytes, place in
      guard isFull.load(ordering: .relaxed) else {
        return BatchStoreFile.systemWrite(file, bytes, place)
      }
      // As the system does it: what still fits is written, and the next write fails.
      if bytes.count > 100 {
        return BatchStoreFile.systemWrite(file, UnsafeRawBufferPointer(rebasing: bytes[..<100]), place)
      }
      errno = ENOSPC
      return -1
    }
    let chain = try FixtureBatch.chain([3, 20])
    #expect(try receiver.send(chain[0]).status == 200)
    isFull.store(true, ordering: .relaxed)
    for _ in 0..<2 {
      let full = try receiver.send(chain[1])
      #expect(full.status == 503 && full.fields["retry-after"] != nil)
      #expect(full.body.contains("No space left on device"))
    }
    isFull.store(false, ordering: .relaxed)
    #expect(try receiver.send(chain[0]).status == 200)
    #expect(try receiver.send(chain[1]).status == 200)
    try await receiver.stop()
    #expect(receiver.service.totals.duplicates == 1)
    let report = try StoreReading(layout: receiver.layout).verify()
    #expect(report.isComplete && report.tail == nil)
    #expect(try receiver.exported() == chain.flatMap(\.lines))
  }
}
