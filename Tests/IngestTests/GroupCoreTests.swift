import Ingest
import Testing

private let ms: Int64 = 1_000_000

@Suite struct GroupCoreTests {
  private func core(
    count: Int = 1024, bytes: Int = 1 << 20, linger: Int64 = 250 * ms, ceiling: Int = 1000,
    isBound: Bool = false
  ) -> (GroupCore, Int) {
    var settings = GroupSettings()
    settings.maximumCount = count
    settings.maximumBytes = bytes
    settings.linger = linger
    var core = GroupCore(settings: settings)
    let source = core.enter(InFlightWindow(ceiling: ceiling, isBound: isBound))
    return (core, source)
  }

  private func stage(_ n: Int, _ core: inout GroupCore, _ source: Int, at now: Int64) {
    for _ in 0..<n { core.staged(source: source, acknowledged: true, bytes: 10, at: now) }
  }

  @Test("an empty group never ends and has no deadline")
  func empty() {
    let (core, _) = core()
    #expect(core.end(at: .max) == nil)
    #expect(core.deadline == nil)
  }

  @Test("a group ends on count, and is full then")
  func count() {
    var (core, source) = core(count: 3)
    stage(2, &core, source, at: 0)
    #expect(core.end(at: 0) == nil)
    #expect(!core.isFull)
    stage(1, &core, source, at: 0)
    #expect(core.end(at: 0) == .count)
    #expect(core.isFull)
  }

  @Test("a group ends on bytes, also when one message is larger than a group")
  func bytes() {
    var (core, source) = core(bytes: 100)
    core.staged(source: source, acknowledged: false, bytes: 99, at: 0)
    #expect(core.end(at: 0) == nil)
    core.staged(source: source, acknowledged: false, bytes: 500, at: 0)
    #expect(core.end(at: 0) == .bytes)
  }

  @Test("linger counts from the first message, not from the last")
  func linger() {
    var (core, source) = core()
    stage(1, &core, source, at: 1000 * ms)
    stage(1, &core, source, at: 1200 * ms)
    #expect(core.deadline == 1250 * ms)
    #expect(core.end(at: 1249 * ms) == nil)
    #expect(core.end(at: 1250 * ms) == .linger)
  }

  /// Twenty messages, silence until the linger is over, and more right after the acknowledgements.
  private func learnTwenty(_ core: inout GroupCore, _ source: Int) {
    stage(20, &core, source, at: 0)
    core.dry(source, at: 1 * ms)
    #expect(core.end(at: 100 * ms) == nil)
    #expect(core.end(at: 250 * ms) == .linger)
    core.committed(.linger, at: 251 * ms, wasDry: { _ in true })
    stage(1, &core, source, at: 252 * ms)
  }

  @Test("a broker that falls silent at n and goes on when acknowledged has the window n")
  func learns() {
    var (core, source) = core()
    learnTwenty(&core, source)
    #expect(core.learnedWindow(of: source) == 20)
    stage(19, &core, source, at: 253 * ms)
    #expect(core.end(at: 300 * ms) == nil, "the socket is not known to be dry")
    core.dry(source, at: 254 * ms)
    #expect(core.deadline == 259 * ms)
    #expect(core.end(at: 258 * ms) == nil)
    #expect(core.end(at: 259 * ms) == .window)
  }

  @Test("a group below the learned window waits for the linger")
  func belowWindow() {
    var (core, source) = core()
    learnTwenty(&core, source)
    stage(18, &core, source, at: 253 * ms)
    core.dry(source, at: 254 * ms)
    #expect(core.end(at: 400 * ms) == nil)
    #expect(core.end(at: 502 * ms) == .linger)
  }

  @Test("nothing is learned when the next message comes late, was there before, or the broker was never silent")
  func learnsNothing() {
    var (late, a) = core()
    stage(20, &late, a, at: 0)
    late.committed(.linger, at: 251 * ms, wasDry: { _ in true })
    stage(1, &late, a, at: 260 * ms)
    #expect(late.learnedWindow(of: a) == nil)

    var (waiting, b) = core()
    stage(20, &waiting, b, at: 0)
    waiting.committed(.linger, at: 251 * ms, wasDry: { _ in false })
    stage(1, &waiting, b, at: 252 * ms)
    #expect(waiting.learnedWindow(of: b) == nil)

    var (steady, c) = core()
    for i in 0..<25 { stage(1, &steady, c, at: Int64(i) * 10 * ms) }
    steady.committed(.linger, at: 251 * ms, wasDry: { _ in true })
    stage(1, &steady, c, at: 252 * ms)
    #expect(steady.learnedWindow(of: c) == nil)
  }

  @Test("the window rises when more is staged, and never above the receive-maximum")
  func rises() {
    var (core, source) = core(ceiling: 30)
    learnTwenty(&core, source)
    stage(24, &core, source, at: 253 * ms)
    #expect(core.learnedWindow(of: source) == 25)
    stage(100, &core, source, at: 253 * ms)
    #expect(core.learnedWindow(of: source) == 30)
  }

  @Test("the window falls when a smaller one shows")
  func falls() {
    var (core, source) = core()
    learnTwenty(&core, source)
    stage(9, &core, source, at: 253 * ms)
    core.committed(.linger, at: 503 * ms, wasDry: { _ in true })
    stage(1, &core, source, at: 504 * ms)
    #expect(core.learnedWindow(of: source) == 10)
  }

  @Test("at MQTT 5 the receive-maximum itself ends the group at once")
  func receiveMaximum() {
    var (core, source) = core(ceiling: 5, isBound: true)
    stage(4, &core, source, at: 0)
    #expect(core.end(at: 0) == nil)
    stage(1, &core, source, at: 0)
    #expect(core.end(at: 0) == .window)
  }

  @Test("QoS 0 messages say nothing about the window")
  func qos0() {
    var (core, source) = core(ceiling: 5, isBound: true)
    for _ in 0..<50 { core.staged(source: source, acknowledged: false, bytes: 1, at: 0) }
    core.dry(source, at: 0)
    #expect(core.end(at: 100 * ms) == nil)
  }

  @Test("a window that proves wrong is forgotten")
  func forgets() {
    var (core, source) = core()
    learnTwenty(&core, source)
    core.committed(.closing, at: 252 * ms, wasDry: { _ in true })
    var now = 253 * ms
    for _ in 0..<InFlightWindow.missesToForget + 1 {
      stage(21, &core, source, at: now)
      core.committed(.window, at: now + 6 * ms, wasDry: { _ in true })
      now += 1000 * ms
    }
    #expect(core.learnedWindow(of: source) == nil)
  }

  @Test("now and then silence must last longer, so that too small a window rises")
  func probes() {
    var window = InFlightWindow(ceiling: 1000, isBound: false)
    window.arrived(unacknowledged: 1, at: 0)
    window.acknowledged(1, at: 10, evidence: .lingered)
    window.arrived(unacknowledged: 1, at: 11)
    #expect(window.learned == 1)
    var patient = 0
    for i in 0..<64 {
      if window.standing(unacknowledged: 1) == .probablyFull(patience: InFlightWindow.probePatience) {
        patient += 1
      }
      window.acknowledged(1, at: Int64(20 + i), evidence: .window)
      window.arrived(unacknowledged: 1, at: Int64(20 + i))
    }
    #expect(patient == 2)
  }

  @Test("one source at its window ends the group for all")
  func severalSources() {
    var (core, first) = core()
    let second = core.enter(InFlightWindow(ceiling: 2, isBound: true))
    stage(1, &core, first, at: 0)
    stage(2, &core, second, at: 0)
    #expect(core.end(at: 0) == .window)
    #expect(core.staged(of: first) == 1)
    #expect(core.staged(of: second) == 2)
    core.committed(.window, at: 1, wasDry: { _ in true })
    #expect(core.isEmpty)
    #expect(core.staged(of: first) == 0)
    core.leave(first)
    #expect(core.enter(InFlightWindow(ceiling: 1, isBound: true)) == first, "numbers are used again")
  }

  @Test("a dropped group leaves nothing staged")
  func dropped() {
    var (core, source) = core()
    stage(7, &core, source, at: 0)
    core.dropped()
    #expect(core.isEmpty)
    #expect(core.staged(of: source) == 0)
    #expect(core.stagedBytes(of: source) == 0)
    #expect(core.deadline == nil)
  }
}
