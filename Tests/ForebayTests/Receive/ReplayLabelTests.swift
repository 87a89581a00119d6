import Telemetry
import Testing

@testable import forebay

@Suite("The replay's id on the receiver's side")
struct ReplayLabelTests {
  @Test("is read from the header, kept in the store and shown with the chain; one that is none is refused")
  func label() throws {
    let batch = try FixtureBatch.chain([2])[0]
    var label = batch.label()
    label.replay = ReplayID(random: 0x8149_37dd_0000_0000)
    var fields = Dictionary(label.fields.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
    #expect(fields["Forebay-Replay"] == "814937dd")
    #expect(try BatchLabel { fields[$0] } == label)
    fields["Forebay-Replay"] = "814937DD"
    #expect(throws: BatchLabelError.self) { try BatchLabel { fields[$0] } }

    var verifier = ChainVerifier()
    var record = try batch.record()
    record.label = label
    var bytes: [UInt8] = []
    record.write(to: &bytes)
    let prefix = Array(bytes.prefix(BatchRecord.prefixLength))
    let lengths = try #require(BatchRecord.lengths(prefix: prefix))
    let rest = Array(bytes.dropFirst(BatchRecord.prefixLength))
    let read = try BatchRecord(
      prefix: prefix, head: Array(rest.prefix(lengths.head)), body: Array(rest.dropFirst(lengths.head)))
    #expect(read == record)
    verifier.add(read)
    let report = try #require(verifier.finish().first)
    #expect(report.verdict == .complete)
    #expect(report.text.contains("(replay 814937dd): complete") && report.json.contains(#""replay":"814937dd""#))
  }
}
