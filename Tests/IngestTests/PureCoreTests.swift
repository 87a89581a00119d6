import Ingest
import Testing

@Suite struct BackoffTests {
  @Test("delays are drawn from zero to a bound that doubles from 0.5 s to 60 s")
  func doubles() {
    var backoff = Backoff()
    var random = SystemRandomNumberGenerator()
    for n in 0..<200 {
      let bound = min(60_000_000_000, Int64(500_000_000) << Int64(min(n, 10)))
      #expect((0...bound).contains(backoff.delay(using: &random)))
    }
    var drawn: Int64 = 0
    for _ in 0..<200 { drawn = max(drawn, backoff.delay(using: &random)) }
    #expect(drawn > 30_000_000_000, "the whole range is used")
  }

  @Test("only a connection that lasted ends the series")
  func resets() {
    var backoff = Backoff()
    var random = SystemRandomNumberGenerator()
    for _ in 0..<10 { _ = backoff.delay(using: &random) }
    backoff.connectionEnded(after: 1_000_000_000, silently: false)
    var drawn: Int64 = 0
    for _ in 0..<50 { drawn = max(drawn, backoff.delay(using: &random)) }
    #expect(drawn > 1_000_000_000)
    backoff.connectionEnded(after: Backoff.stable, silently: true)
    #expect(backoff.delay(using: &random) <= 500_000_000)
  }

  @Test("a contested session waits at least 10 s, and longer each time")
  func contested() {
    var backoff = Backoff()
    var random = SystemRandomNumberGenerator()
    var least: Int64 = 10_000_000_000
    for _ in 0..<10 {
      let delay = backoff.delayAfterTakeover(using: &random)
      #expect((least...2 * least).contains(delay))
      least = min(2 * least, 600_000_000_000)
      backoff.connectionEnded(after: 60_000_000_000, silently: false)
    }
    backoff.connectionEnded(after: Backoff.uncontested, silently: false)
    #expect(backoff.delayAfterTakeover(using: &random) <= 20_000_000_000)
  }
}

@Suite struct ContestTests {
  private let second: Int64 = 1_000_000_000

  @Test("a session that is closed soon and silently three times in a row is contested")
  func contested() {
    var backoff = Backoff()
    for expected in [false, false, true, true] {
      backoff.connectionEnded(after: second, silently: true)
      #expect(backoff.isContested == expected)
    }
  }

  @Test("a broker that cannot be reached in between, says why, or lets us stay is no contest")
  func innocent() {
    var backoff = Backoff()
    for _ in 0..<10 {
      backoff.connectionEnded(after: second, silently: true)
      backoff.connectionEnded(after: second, silently: true)
      backoff.attemptFailed()
      #expect(!backoff.isContested)
    }
    for _ in 0..<10 { backoff.connectionEnded(after: second, silently: false) }
    #expect(!backoff.isContested)
    for _ in 0..<10 { backoff.connectionEnded(after: 60 * second, silently: true) }
    #expect(!backoff.isContested)
  }

  @Test("while two boxes take turns, soon grows with the delay")
  func turns() {
    var backoff = Backoff()
    var random = SystemRandomNumberGenerator()
    for _ in 0..<3 { backoff.connectionEnded(after: second, silently: true) }
    for _ in 0..<8 {
      let delay = backoff.delayAfterTakeover(using: &random)
      backoff.connectionEnded(after: 2 * delay, silently: true)
      #expect(backoff.isContested)
    }
  }
}

@Suite struct SubscriptionPlanTests {
  @Test("only the difference is sent while the broker has the session")
  func difference() {
    let plan = SubscriptionPlan(
      wanted: ["a", "b"], known: ["b": .held, "c": .held], sessionPresent: true, retained: .take)
    #expect(plan.subscribe == [.init(filter: "a", retain: .ifNew)])
    #expect(plan.unsubscribe == ["c"])
    #expect(plan.before == ["b": .held, "c": .uncertain])
  }

  @Test("nothing is sent when nothing differs")
  func same() {
    let plan = SubscriptionPlan(
      wanted: ["a"], known: ["a": .held], sessionPresent: true, retained: .once)
    #expect(plan.isEmpty)
    #expect(plan.before == ["a": .held])
  }

  @Test("everything is subscribed when the broker lost the session, and known to be uncertain first")
  func lost() {
    for (rule, retain) in [
      (SourceSettings.RetainedRule.take, RetainHandling.ifNew), (.ignore, .never), (.once, .never),
    ] {
      let plan = SubscriptionPlan(
        wanted: ["a"], known: ["a": .held, "gone": .held], sessionPresent: false, retained: rule)
      #expect(plan.subscribe == [.init(filter: "a", retain: retain)])
      #expect(plan.unsubscribe == [])
      #expect(plan.before == ["a": .uncertain])
    }
  }

  @Test("with MQTT 5 every filter is asked for at each connection, so that nothing retained comes again")
  func always() {
    for (rule, retain) in [
      (SourceSettings.RetainedRule.take, RetainHandling.ifNew), (.ignore, .never), (.once, .never),
    ] {
      let plan = SubscriptionPlan(
        wanted: ["a"], known: ["a": .held, "gone": .held], sessionPresent: true, retained: rule, doubt: .always)
      #expect(plan.subscribe == [.init(filter: "a", retain: retain)])
      #expect(plan.unsubscribe == ["gone"])
      #expect(plan.before == ["a": .held, "gone": .uncertain])
    }
  }

  @Test("where an answer was lost every filter is uncertain until it is granted, and once takes nothing retained again")
  func answerLost() {
    let plan = SubscriptionPlan(
      wanted: ["a", "b"], known: ["a": .held], sessionPresent: true, retained: .once, doubt: .answerLost)
    #expect(plan.subscribe == [.init(filter: "a", retain: .never), .init(filter: "b", retain: .ifNew)])
    #expect(plan.before == ["a": .uncertain])
  }

  @Test("once takes the retained messages of a filter that is new")
  func once() {
    let plan = SubscriptionPlan(wanted: ["a"], known: [:], sessionPresent: false, retained: .once)
    #expect(plan.subscribe == [.init(filter: "a", retain: .ifNew)])
  }

  @Test("what is uncertain is told again")
  func uncertain() {
    let plan = SubscriptionPlan(
      wanted: ["a"], known: ["a": .uncertain, "b": .uncertain], sessionPresent: true, retained: .once)
    #expect(plan.subscribe == [.init(filter: "a", retain: .never)])
    #expect(plan.unsubscribe == ["b"])
  }
}

@Suite struct PacketScanTests {
  private func scan(_ bytes: [UInt8], publish: Int = 1000, control: Int = 100) -> PacketScan {
    bytes.withUnsafeBytes { PacketScan($0, publishLimit: publish, controlLimit: control) }
  }
  private func publish(_ length: Int, qos: UInt8 = 1) -> [UInt8] {
    var bytes: [UInt8] = [0x30 | qos << 1]
    var rest = length
    repeat {
      bytes.append(UInt8(rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
      rest >>= 7
    } while rest > 0
    return bytes + [UInt8](repeating: 7, count: length)
  }

  @Test("whole packets are counted, whatever their kind")
  func whole() {
    #expect(scan(publish(0) + publish(127) + [0xd0, 0] + publish(128)).packets == 4)
    #expect(scan(publish(5)).rest == .nothing)
    #expect(scan([]).packets == 0)
  }

  @Test("a packet that breaks off is told by its kind, at every byte")
  func broken() {
    let bytes = publish(200)
    for count in 1..<bytes.count {
      let result = scan([0xd0, 0] + Array(bytes[..<count]))
      #expect(result.packets == 1)
      #expect(result.rest == (count < 3 ? .header : .publish))
    }
    #expect(scan([0x90, 5, 1]).rest == .control)
  }

  @Test("the beginning of a PUBLISH of MQTT 5 is none to be read before its properties are all there")
  func properties() {
    // Length, topic `t/a`, identifier, two bytes of properties, payload.
    let packet: [UInt8] = [0x32, 14, 0, 3, 0x74, 0x2F, 0x61, 0, 7, 2, 1, 0, 9, 9, 9, 9]
    for count in 2..<packet.count {
      let rest = (packet + packet.prefix(count)).withUnsafeBytes {
        PacketScan($0, publishLimit: 1_000, controlLimit: 100, hasProperties: true).rest
      }
      #expect(rest == (count < 12 ? .properties : .publish), "\(count)")
      #expect(scan(Array(packet.prefix(count))).rest == .publish, "MQTT 3.1.1 has none")
    }
  }

  @Test("what is larger than allowed is refused by its header alone, up to the 256 MB of the format")
  func tooLarge() {
    #expect(scan([0x32, 0xff, 0xff, 0xff, 0x7f]).rest == .tooLarge(bytes: 268_435_460, limit: 1000))
    #expect(scan(publish(997)).rest == .nothing)
    #expect(scan(publish(998)).rest == .tooLarge(bytes: 1001, limit: 1000))
    #expect(scan([0x20, 101]).rest == .tooLarge(bytes: 103, limit: 100))
  }

  @Test("a length of five bytes and a PUBLISH at QoS 2 are malformed")
  func malformed() {
    #expect(scan([0x32, 0x80, 0x80, 0x80, 0x80, 0x01]).rest == .malformed)
    #expect(scan(publish(3, qos: 2)).rest == .malformed)
    #expect(scan(publish(3) + publish(3, qos: 3)).packets == 1)
  }
}
