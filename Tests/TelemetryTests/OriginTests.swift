import Telemetry
import Testing

@Suite("Origins")
struct OriginTests {
  @Test("Two spellings of one accented letter are two topics, also within one group")
  func normalisation() {
    let composed = Origin(source: "floor", topic: "caf\u{E9}")
    let decomposed = Origin(source: "floor", topic: "cafe\u{301}")
    #expect(composed.topic == decomposed.topic, "Swift finds them equal")
    #expect(composed != decomposed)
    var group = MessageGroup(boot: BootID(high: 0, low: 0))
    #expect(group.index(of: composed) == 0)
    #expect(group.index(of: decomposed) == 1)
    #expect(group.index(of: composed) == 0)
  }

  @Test("The same topic of two sources is two origins")
  func sources() {
    #expect(Origin(source: "a", topic: "t") != Origin(source: "b", topic: "t"))
    #expect(Set([Origin(source: "a", topic: "t"), Origin(source: "a", topic: "t")]).count == 1)
  }
}
