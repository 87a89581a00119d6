import Telemetry
import Testing

@testable import Pipeline

@Suite("What a message may be at most")
struct MessageLimitsTests {
  private func settings(_ change: (inout MessageLimits) -> Void = { _ in }) throws -> PipelineSettings {
    try makeSettings(["sensors/{device}/#"]) { change(&$0.limits) }
  }

  private func rule(
    _ settings: PipelineSettings, _ topic: String, _ payload: String = "{}", properties: [MessageProperty] = []
  ) throws -> String? {
    var core = try makeCore(settings)
    var message = message(topic, payload)
    message.properties = properties
    core.process(block([message]), now: moment())
    core.close(moment())
    let seal = try #require(try core.takeSeal())
    #expect(seal.counters.decoded + seal.counters.rejected == 1)
    let rejection = seal.rejections.first
    #expect(rejection == nil || rejection?.payload == Array(payload.utf8))
    #expect(rejection == nil || rejection?.origin.topic.hasSameBytes(as: topic) == true)
    return rejection?.rule
  }

  @Test("a topic may have 512 bytes and 32 levels, unless told otherwise")
  func topics() throws {
    let usual = try settings()
    func topic(bytes count: Int) -> String { "sensors/a/" + String(repeating: "x", count: count - 10) }
    func topic(levels count: Int) -> String { "sensors/a" + String(repeating: "/b", count: count - 2) }
    #expect(try rule(usual, topic(bytes: 512)) == nil)
    #expect(try rule(usual, topic(bytes: 513)) == "topic.length")
    #expect(try rule(usual, topic(bytes: 65_535)) == "topic.length")
    #expect(try rule(usual, topic(levels: 32)) == nil)
    #expect(try rule(usual, topic(levels: 33)) == "topic.levels")
    let wide = try settings {
      $0.topic = 65_535
      $0.levels = 200
    }
    #expect(try rule(wide, topic(bytes: 65_535)) == nil)
    #expect(try rule(wide, topic(levels: 200)) == nil)
    #expect(try rule(wide, topic(levels: 201)) == "topic.levels")
  }

  @Test("a key may have 256 bytes, out of the topic as out of the payload")
  func keys() throws {
    func name(_ count: Int) -> String { String(repeating: "x", count: count) }
    #expect(try rule(settings(), "sensors/\(name(256))/a") == nil)
    #expect(try rule(settings(), "sensors/\(name(257))/a") == "key.length")
    let inPayload = try makeSettings(["sensors/+"], key: "id")
    #expect(try rule(inPayload, "sensors/a", "{\"id\":\"\(name(256))\"}") == nil)
    #expect(try rule(inPayload, "sensors/a", "{\"id\":\"\(name(257))\"}") == "key.length")
    let short = try settings { $0.key = 3 }
    #expect(try rule(short, "sensors/abc/a") == nil)
    #expect(try rule(short, "sensors/abcd/a") == "key.length")
  }

  @Test("a payload may have what MQTT carries, unless told otherwise")
  func payloads() throws {
    let long = "{\"a\":\"\(String(repeating: "x", count: 100))\"}"
    #expect(try rule(settings(), "sensors/a/b", long) == nil)
    #expect(try rule(settings { $0.payload = long.utf8.count }, "sensors/a/b", long) == nil)
    #expect(try rule(settings { $0.payload = long.utf8.count - 1 }, "sensors/a/b", long) == "payload.size")
  }

  @Test("a message may have 64 properties of 8 KiB together")
  func properties() throws {
    let one = MessageProperty.user(name: "k", value: "v")
    func many(_ count: Int) -> [MessageProperty] { [MessageProperty](repeating: one, count: count) }
    let usual = try settings()
    #expect(try rule(usual, "sensors/a/b", properties: many(64)) == nil)
    #expect(try rule(usual, "sensors/a/b", properties: many(65)) == "properties.count")
    let exact = [MessageProperty.correlationData([UInt8](repeating: 0, count: 8_192))]
    #expect(try rule(usual, "sensors/a/b", properties: exact) == nil)
    #expect(try rule(usual, "sensors/a/b", properties: exact + [.payloadFormatIndicator(1)]) == "properties.size")
    #expect(try rule(settings { $0.properties = 0 }, "sensors/a/b", properties: many(1)) == "properties.count")
  }

  @Test("what was refused goes through once the limits allow it")
  func requeued() throws {
    var core = try makeCore(try settings { $0.payload = 3 })
    core.process(block([message("sensors/a/b", "{\"a\":1}")]), now: moment())
    let rejection = try #require(try core.takeSeal()?.rejections.first)
    var same = try makeCore(try settings { $0.payload = 3 }, startState(1))
    same.requeue(DeadLetter(id: 1, rejection: rejection), now: moment())
    #expect(try same.takeSeal()?.refusedAgain.map(\.rejection.rule) == ["payload.size"])
    var wider = try makeCore(try settings(), startState(1))
    wider.requeue(DeadLetter(id: 1, rejection: rejection), now: moment())
    wider.close(moment())
    #expect(try wider.takeSeal()?.batches.first?.count == 1)
  }

  @Test("a message on a topic of other pipelines is theirs, however long its topic")
  func unmatched() throws {
    var core = try makeCore(try settings())
    core.process(block([message("other/" + String(repeating: "x", count: 60_000), "{}")]), now: moment())
    #expect(try core.takeSeal()?.counters.unmatched == 1)
  }

  @Test("usual limits leave the version as it was, others make another one and stand in the explanation")
  func versions() throws {
    let usual = try settings()
    let other = try settings { $0.levels = 8 }
    #expect(pipelineVersion(usual) != pipelineVersion(other))
    #expect(other.continuesWindows(of: usual))
    #expect(usual.steps.contains { $0.text == "decode json" })
    #expect(other.steps.contains { $0.text == "decode json (topic levels at most 8)" })
  }

  @Test("topics as long as allowed, all of them different, fill the router's memory up to its bound")
  func router() throws {
    let settings = try settings {
      $0.topic = 65_535
      $0.key = 65_535
    }
    var router = TopicRouter(settings: settings)
    var rounds = 0
    for round in 0..<4 {
      for place in 0..<100 {
        let topic = "sensors/\(round)-\(place)-" + String(repeating: "\"", count: 30_000) + "/x"
        let route = router.route(Origin(source: "floor", topic: topic), at: place)
        #expect(route?.hasKey == true && route?.excess == nil)
        #expect(router.knownBytes <= TopicRouter.capacityBytes && router.recentBytes <= TopicRouter.capacityBytes)
        rounds += 1
      }
    }
    #expect(rounds == 400)
    // What is forgotten is worked out anew.
    let again = router.route(Origin(source: "floor", topic: "sensors/p1/x"), at: 5)
    #expect(again.map { String(decoding: $0.key, as: UTF8.self) } == "p1")
    #expect(router.route(Origin(source: "floor", topic: "sensors/p1/x"), at: 5) === again)
  }

  @Test("a topic beyond the limits is not remembered, and the places of others stay right")
  func notRemembered() throws {
    var router = TopicRouter(settings: try settings())
    let long = Origin(source: "floor", topic: "sensors/a/" + String(repeating: "x", count: 60_000))
    #expect(router.route(long, at: 0)?.excess?.rule == .topicLength)
    #expect(router.knownBytes == 0 && router.recentBytes == 0)
    #expect(router.route(Origin(source: "floor", topic: "sensors/b/x"), at: 1)?.key == Array("b".utf8))
    #expect(router.route(Origin(source: "floor", topic: "sensors/c/x"), at: 0)?.key == Array("c".utf8))
    #expect(router.route(long, at: 0)?.excess?.rule == .topicLength)
  }

  @Test("letters that wait for their seal count with their topics")
  func letters() throws {
    var core = try makeCore(try settings())
    let topic = "sensors/a/" + String(repeating: "x", count: 60_000)
    core.process(block((0..<10).map { _ in message(topic, "{}") }), now: moment())
    #expect(core.sealableBytes > 600_000)
  }

  @Test("the room that a very large text took goes with the next small one")
  func room() throws {
    var tape = JSONTape()
    let large = Array(("[" + String(repeating: "0,", count: 200_000) + "0]").utf8)
    try large.withUnsafeBytes { try tape.read($0) }
    #expect(tape.values.count == 200_002 && tape.values.room >= 200_002)
    try Array("[1,2]".utf8).withUnsafeBytes { try tape.read($0) }
    #expect(tape.values.count == 3 && tape.values.room <= JSONTape.keptValues)
  }
}
