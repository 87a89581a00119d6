import Compression
@testable import Delivery
import Telemetry
import Testing

@Suite("Splitting")
struct SplittingTests {
  @Test(
    "however a batch is split, its parts put together are the batch, and each proves itself",
    arguments: BatchCompression.allCases, BatchEncoding.allCases)
  func partsAddUp(_ compression: BatchCompression, _ encoding: BatchEncoding) throws {
    var random = SplitMix64(state: 42)
    for count in [2, 3, 4, 5, 7, 8, 100, 101, 257] {
      let text = (0..<count).map { line in
        "{\"line\":\(line),\"x\":\"\(String(repeating: "é", count: Int.random(in: 0...40, using: &random)))\"}\n"
      }.joined()
      let whole = Sample.batch(
        7, count: count, previous: Digest(of: [1]), compression: compression, encoding: encoding, text: text)
      // Splits whatever still can be split, in a random order, until a random number of parts is left.
      var parts = [whole]
      for _ in 0..<Int.random(in: 1...count, using: &random) {
        guard let index = parts.indices.filter({ parts[$0].count > 1 }).randomElement(using: &random)
        else { break }
        parts.replaceSubrange(index...index, with: try Splitting.halves(of: parts[index]))
      }
      var joined: [UInt8] = []
      var line = 0
      for part in parts {
        let body = try Splitting.body(of: part)
        joined += body
        #expect(part.count >= 1 && part.length == body.count)
        #expect(part.compression == compression && part.encoding == encoding)
        #expect(body.count { $0 == UInt8(ascii: "\n") } == part.count)
        let lines = try #require(part.identity.part).lines(of: count)
        #expect(lines == line..<(line + part.count))
        line = lines.upperBound
        #expect(part.identity.whole == whole.identity && part.previous == whole.digest)
        #expect(
          part.parent
            == Batch.Parent(
              digest: whole.digest, previous: whole.previous, count: count, length: text.utf8.count))
        #expect((part.firstOffset, part.lastOffset) == (whole.firstOffset, whole.lastOffset))
      }
      #expect(joined == Array(text.utf8))
    }
  }

  @Test("the halves of the protocol's example have the digests that its page prints")
  func example() throws {
    let epoch = try #require(Epoch(rawValue: "814937dd28a44b0b"))
    let text = """
      {"key":"t-1","time":"2024-06-01T12:00:00Z","captures":{"kind":"climate"},"data":{"ts":1717243200000,"temperature":21.5}}
      {"key":"t-2","time":"2024-06-01T12:00:00.25Z","captures":{"kind":"climate"},"data":{"ts":1717243200250,"temperature":-4}}
      {"key":"t-1","time":"2024-06-01T12:00:01Z","captures":{"kind":"climate"},"data":{"ts":1717243201000,"temperature":21.6}}

      """
    var batch = Sample.batch(1, text: text)
    batch.identity = BatchIdentity(gateway: "gw-042", pipeline: "climate", epoch: epoch, sequence: 1)
    batch.digest = Batch.digest(
      identity: batch.identity, previous: .zero, count: 3, body: Array(text.utf8))
    #expect(batch.digest.hex == "835e202ff5a96ce7c8d4a688b90ee3ed7ad72cce30dd87fdbe865fd625bf9bd4")
    let halves = try Splitting.halves(of: batch)
    #expect(
      halves.map(\.digest.hex) == [
        "f304dead2986bb7fd5f6b0c092bac8ba2fde4b4fa39e6237a13aeb9667b34efc",
        "af75d67642b0b9650a487e4fc463f16e5145d2001e66f5500898abf4f69fb6f5",
      ])
    #expect(halves.map(\.count) == [1, 2] && halves.map(\.length) == [121, 243])
  }

  @Test("whether a batch is sent as lines or as columns, it and its parts have the same digests")
  func sameDigests() throws {
    let lines = Sample.batch(1, count: 9)
    let columns = Sample.batch(1, count: 9, encoding: .columns)
    #expect(lines.digest == columns.digest && lines.body != columns.body)
    let parts = try [lines, columns].map { try Splitting.halves(of: $0) }
    #expect(parts[0].map(\.digest) == parts[1].map(\.digest) && parts[0].map(\.parent) == parts[1].map(\.parent))
    let text = try Gzip.decompress(parts[1][0].body, maximumOutput: 1000)
    #expect(String(decoding: text, as: UTF8.self) == #"{"rows":4,"tables":[{"n":[1,1,1,1],"line":[0,1,2,3]}]}"# + "\n")
  }

  @Test("a batch whose body is not what was sealed is not split", arguments: BatchEncoding.allCases)
  func damaged(_ encoding: BatchEncoding) throws {
    let batch = Sample.batch(1, encoding: encoding)
    for change in [
      { (batch: inout Batch) in batch.body[batch.body.count / 2] ^= 1 },
      { $0.body.removeLast(4) }, { $0.count = 4 }, { $0.length -= 1 },
      { $0.digest = Digest(of: [9]) }, { $0.count = 1 },
    ] {
      var wrong = batch
      change(&wrong)
      #expect(throws: SplittingError.self) { try Splitting.halves(of: wrong) }
    }
  }
}
