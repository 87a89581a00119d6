import Compression
@testable import Delivery
import Telemetry
import Testing

@Suite("Splitting")
struct SplittingTests {
  @Test(
    "however a batch is split, its parts put together are the batch, and each proves itself",
    arguments: BatchCompression.allCases)
  func partsAddUp(_ compression: BatchCompression) throws {
    var random = SplitMix64(state: 42)
    for count in [2, 3, 4, 5, 7, 8, 100, 101, 257] {
      let text = (0..<count).map { line in
        "{\"line\":\(line),\"x\":\"\(String(repeating: "é", count: Int.random(in: 0...40, using: &random)))\"}\n"
      }.joined()
      let whole = Sample.batch(
        7, count: count, previous: Digest(of: [1]), compression: compression, text: text)
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
        #expect(part.count >= 1 && part.length == body.count && part.compression == compression)
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
    let epoch = try #require(Epoch(rawValue: "5f0c9a3be2417d68"))
    let text = """
      {"device":"t-1","ts":1717243200000,"temperature":21.5}
      {"device":"t-2","ts":1717243200250,"temperature":-4}
      {"device":"t-1","ts":1717243201000,"temperature":21.6}

      """
    var batch = Sample.batch(1, text: text)
    batch.identity = BatchIdentity(gateway: "gw-042", pipeline: "climate", epoch: epoch, sequence: 1)
    batch.digest = Batch.digest(
      identity: batch.identity, previous: .zero, count: 3, body: Array(text.utf8))
    #expect(batch.digest.hex == "65ecc67ff272992a9040b409c69177738afedc356cf2dd71a86da10dfe5a988d")
    let halves = try Splitting.halves(of: batch)
    #expect(
      halves.map(\.digest.hex) == [
        "c527717ebc23ead425163eca8a6b39587a32e89aa777a34e4c14aac98a6ac867",
        "4191fc2273a752e198a89f7a611631974a6bb0225715dc00add26cb440b22a65",
      ])
    #expect(halves.map(\.count) == [1, 2] && halves.map(\.length) == [55, 108])
  }

  @Test("a batch whose body is not what was sealed is not split")
  func damaged() throws {
    let batch = Sample.batch(1)
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
