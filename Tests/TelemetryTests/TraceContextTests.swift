import Telemetry
import Testing

@Suite("Trace context")
struct TraceContextTests {
  private static let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

  @Test("the specification's example is read and written back")
  func example() throws {
    let context = try #require(TraceContext(Self.valid))
    #expect(context.trace.description == "0af7651916cd43dd8448eb211c80319c")
    #expect(context.span.description == "b7ad6b7169203331" && context.isSampled)
    #expect(context.description == Self.valid)
    let unsampled = try #require(TraceContext(Self.valid.dropLast(2) + "00"))
    #expect(!unsampled.isSampled && unsampled.description.hasSuffix("-00"))
    #expect(TraceContext(Self.valid.dropLast(2) + "ff")?.isSampled == true)
  }

  @Test(
    "what breaks the form is no trace context",
    arguments: [
      "", "00", "00-", valid.dropLast().description, valid + "0", valid + "-", valid + "-00", " " + valid,
      valid.uppercased(), "ff" + valid.dropFirst(2), "0g" + valid.dropFirst(2),
      "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "00-00000000000000000000000000000000-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-01",
      "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
      "01" + valid.dropFirst(2) + "x", String(repeating: "0", count: 1_000_000),
    ])
  func invalid(_ text: String) {
    #expect(TraceContext(text) == nil)
  }

  @Test("of a later version the known beginning counts", arguments: ["", "-", "-what=ever"])
  func later(_ rest: String) {
    #expect(TraceContext("cc" + Self.valid.dropFirst(2) + rest)?.trace.description.hasPrefix("0af7") == true)
  }

  @Test("whatever comes is refused or written back as it was")
  func random() {
    var generator = SystemRandomNumberGenerator()
    let letters = Array("0123456789abcdef-fF g")
    for _ in 0..<20_000 {
      var text = Array(Self.valid)
      for _ in 0..<Int.random(in: 0...3, using: &generator) {
        text[Int.random(in: 0..<text.count, using: &generator)] = letters.randomElement(using: &generator) ?? "0"
      }
      let line = String(text)
      guard let context = TraceContext(line), line.hasPrefix("00") else { continue }
      #expect(context.description.dropLast(2) == line.dropLast(2))
    }
  }

  @Test("retries share a trace and never a span; parts are in the trace of their batch")
  func batches() throws {
    let epoch = try #require(Epoch(rawValue: "0123456789abcdef"))
    let digest = Digest(of: [1])
    var batch = Batch(
      identity: BatchIdentity(gateway: "g", pipeline: "p", epoch: epoch, sequence: 1), version: "v",
      log: LogID(rawValue: "0"), firstOffset: Offset(0), lastOffset: Offset(0), count: 2, encoding: .ndjson,
      compression: .none, body: [], length: 0, digest: digest, previous: .zero,
      sealed: Moment(boot: BootID(high: 0, low: 0), monotonic: 0, wall: 0, quality: .synchronised))
    #expect(batch.trace.description == digest.hex.prefix(32))
    #expect(batch.span(attempt: 1, life: 0).description == digest.hex.dropFirst(32).prefix(16))
    let spans = (1...50).flatMap { attempt in [0, 1, 77].map { batch.span(attempt: attempt, life: $0 << 20) } }
    #expect(Set(spans + (0..<4).map(batch.span(stage:))).count == 154)
    let whole = batch.trace
    batch.parent = Batch.Parent(digest: digest, previous: .zero, count: 2, length: 0)
    batch.digest = Digest(of: [2])
    #expect(batch.trace == whole && batch.span(attempt: 1, life: 0) != spans[0])
    #expect(TraceID(high: 0, low: 0).description.hasSuffix("1") && SpanID(0).description.hasSuffix("1"))
  }

  @Test("ages go by the monotonic clock within a boot, and by the wall clock only where both are worth it")
  func ages() {
    let here = BootID(high: 0, low: 1)
    let there = BootID(high: 0, low: 2)
    func moment(_ boot: BootID, _ monotonic: Int64, _ wall: Int64, _ quality: ClockQuality) -> Moment {
      Moment(boot: boot, monotonic: monotonic, wall: wall, quality: quality)
    }
    let now = moment(here, 100, 1_000, .synchronised)
    #expect(now.elapsed(since: moment(here, 40, 5_000, .unsynchronised)) == 60)
    #expect(now.elapsed(since: moment(here, 140, 0, .synchronised)) == 0)
    #expect(now.elapsed(since: moment(there, 0, 400, .synchronised)) == 600)
    #expect(now.elapsed(since: moment(there, 0, 400, .unsynchronised)) == nil)
  }
}
