import Telemetry
import Testing

@testable import Spool
@testable import forebay

@Suite("Commands: what devices wrote is shown, and does nothing")
struct PlainTextTests {
  private static let topic = "sensors/\u{1B}[2J/\u{9B}31m/\u{202E}x"
  private static let shown = #"sensors/\u{1b}[2J/\u{9b}31m/\u{202e}x"#
  private static let origin = Origin(source: "floor", topic: topic)
  private static let received = Moment(boot: BootID(high: 1, low: 2), monotonic: 1, wall: 0, quality: .synchronised)

  @Test("a message of the log, its topic and its payload, on one line")
  func message() {
    let message = Message(
      origin: Self.origin, payload: Array("{\"a\":\"\u{1B}]0;x\u{7}\",\n\"b\":\"\u{202E}\"}".utf8), qos: .atLeastOnce,
      packetID: 1, received: Self.received)
    let line = LogCommand.Show.line(Record(offset: Offset(7), message: message))
    #expect(line.contains(Self.shown), "\(line)")
    #expect(line.hasSuffix(#"{"a":"\u{1b}]0;x\u{7}","b":"\u{202e}"}"#), "\(line)")
    #expect(!line.unicodeScalars.contains { $0.value < 0x20 || $0 == "\u{9B}" || $0 == "\u{202E}" })
  }

  @Test("a dead letter: its topic, and a payload that turns the text around")
  func deadLetter() {
    let rejection = Rejection(
      stage: .decode, rule: "json.syntax", reason: "no", origin: Self.origin, log: LogID(rawValue: "0123456789abcdef"),
      offset: Offset(1), received: Self.received, payload: Array("two\nlines\t\u{202E}\u{9B}31m".utf8))
    let letter = StoredDeadLetter(
      pipeline: "climate", letter: DeadLetter(id: 5, rejection: rejection), requested: false, attempts: 1, since: 0)
    let text = DeadLettersCommand.Show.text(letter, absence: nil)
    #expect(text.contains("topic     \(Self.shown) from floor"), "\(text)")
    #expect(text.hasSuffix("two\nlines\t\\u{202e}\\u{9b}31m"), "\(text)")
  }

  @Test("a topic of 65,000 bytes is cut off")
  func longTopic() {
    #expect(Output.plain(topic: String(repeating: "x", count: 65_000)).count == Output.longestTopic + 3)
  }
}
