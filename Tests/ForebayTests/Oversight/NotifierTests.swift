import FoundationEssentials
import Logging
import Synchronization
import TestSupport
import Testing

@testable import Delivery
@testable import forebay
@testable import Status

@Suite("Telling people of alarms")
struct NotifierTests {
  /// A channel that notes what it is told, and answers as it is told to; it can be made to wait with its answer.
  private final class Listener: Sendable {
    private let state = Mutex<(told: [AlarmNotice], answer: Notifier.Attempt, isHeld: Bool)>(([], .told, false))
    let name: String

    init(_ name: String = "webhook") { self.name = name }

    /// All that came, whatever was answered.
    var told: [AlarmNotice] { state.withLock { $0.told } }
    var events: [AlarmEvent.Change] { told.map(\.event) }
    func answer(_ answer: Notifier.Attempt) { state.withLock { $0.answer = answer } }
    func hold(_ isHeld: Bool) { state.withLock { $0.isHeld = isHeld } }

    var channel: Notifier.Channel {
      Notifier.Channel(name: name) { [self] notice in
        let answer = state.withLock { state in
          if case .notTold = state.answer {} else { state.told.append(notice) }
          return state.answer
        }
        while state.withLock({ $0.isHeld }) { try? await Task.sleep(nanoseconds: 2_000_000) }
        return answer
      }
    }
  }

  private final class Clock: Sendable {
    private let time = Mutex<Int64>(0)
    var now: Int64 { time.withLock { $0 } }
    func pass(seconds: Int64) { time.withLock { $0 += seconds * 1_000_000_000 } }
  }

  private static let sender = Notifier.Sender(gateway: "gw", site: "plant", alarms: AlarmSettings())

  private static let news = AlarmNews(
    AlarmEvent(
      .raised,
      Alarm(kind: "uplink", subject: "central", severity: .page, text: "away", since: 1_700_000_000_000_000_000)),
    key: "00ff")

  /// Notifier and oversight as the daemon puts them together, over a folder that outlives them.
  private struct Run {
    let notifier: Notifier
    let oversight: Oversight
    let clock = Clock()

    init(_ folder: TemporaryDirectory, _ listeners: Listener..., interval: Int64 = 0) {
      let notifier = Notifier(
        NotifierTests.sender, channels: listeners.map(\.channel), interval: interval, directory: folder.path,
        logger: Logger(label: "test"), now: { [clock] in clock.now })
      self.notifier = notifier
      oversight = Oversight(
        directory: folder.path, objectives: [:], alarms: AlarmSettings(), now: Seen.moment(0),
        logger: Logger(label: "test"), known: notifier.known, onLook: { notifier.follow($0) })
    }

    /// A look, so many seconds after the last, and what there is to tell; these uplinks are out of order.
    func look(after seconds: Int64 = 10, _ away: String...) async {
      clock.pass(seconds: seconds)
      var sight = Sight(now: Seen.moment(clock.now / 1_000_000_000))
      (sight.pipelines, sight.stranded) = ([], away.map { DaemonFigures.Stranded(book: "p", uplink: $0, readings: 1) })
      oversight.look(sight, measures: false)
      await notifier.tell()
    }
  }

  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory("notifier") }

  @Test("a notice says which gateway, which alarm, since when, where to read what to do, and by what to know it again")
  func notice() throws {
    let notice = AlarmNotice(Self.news, from: Self.sender)
    #expect(
      try Output.json(notice, pretty: false)
        == #"{"event":"raised","gateway":"gw","key":"00ff","kind":"uplink","#
        + #""runbook":"/usr/share/doc/forebay/operations.md#uplink","severity":"page","#
        + #""since":"2023-11-14T22:13:20Z","site":"plant","subject":"central","text":"away","version":1}"#
    )
    #expect(AlarmNotice.newKey().count == 16 && AlarmNotice.newKey() != AlarmNotice.newKey())
  }

  @Test("what could not be told is told later, and a channel that fails for long is named")
  func failures() async throws {
    let listener = Listener()
    listener.answer(.notTold("no route"))
    let run = Run(folder, listener)
    await run.look("central")
    #expect(run.notifier.failing().allSatisfy { $0.fault == nil })
    for _ in 0..<20 { await run.look(after: 60, "central") }
    #expect(listener.told.isEmpty && run.notifier.failing().map(\.fault) == ["no route"])
    listener.answer(.told)
    await run.look(after: 600, "central")
    #expect(listener.events == [.raised])
    #expect(run.notifier.failing().allSatisfy { $0.fault == nil })
    for _ in 0..<8 { await run.look() }
    #expect(listener.events == [.raised, .resolved])
  }

  @Test("an alarm that ends while its beginning is being told is told as resolved")
  func endsMeanwhile() async {
    let listener = Listener()
    listener.hold(true)
    let run = Run(folder, listener)
    let telling = Task { await run.look("central") }
    #expect(await soon { listener.events == [.raised] })
    for _ in 0..<8 { await run.look() }
    #expect(run.oversight.board.kept.isEmpty && listener.events == [.raised])
    listener.hold(false)
    await telling.value
    #expect(listener.events == [.raised, .resolved])
  }

  @Test("what arrived and was not answered is told again under its key, and its end is told")
  func lostAnswer() async {
    let listener = Listener()
    listener.answer(.unknown("no whole answer in time"))
    let run = Run(folder, listener)
    for _ in 0..<2 { await run.look("central") }
    #expect(listener.events == [.raised, .raised] && Set(listener.told.map(\.key)).count == 1)
    for _ in 0..<8 { await run.look(after: 60) }
    listener.answer(.told)
    await run.look(after: 600)
    #expect(listener.events.last == .resolved && Set(listener.told.map(\.key)).count == 2)
    let count = listener.told.count
    await run.look(after: 600)
    #expect(listener.told.count == count && run.notifier.known.isEmpty)
  }

  @Test("after a power cut what was told and has ended since is told as resolved, and nothing under another key")
  func powerCut() async throws {
    let listener = Listener()
    // Neither oversight nor notifier keeps anything beside what is written before it is told.
    await Run(folder, listener).look("gone", "lasting")
    #expect(listener.told.map(\.subject) == ["gone", "lasting"])
    let second = Run(folder, listener)
    for _ in 0..<30 { await second.look("lasting") }
    var keys: Set<String> = []
    let news = listener.told.filter { keys.insert($0.key).inserted }
    #expect(news.map { "\($0.event) \($0.subject)" } == ["raised gone", "raised lasting", "resolved gone"])
    #expect(news.last?.since == news.first?.since)
    #expect(second.oversight.board.alarms.map(\.subject) == ["lasting"])
  }

  @Test(
    "what was being told when the power went is told again under its key, or as resolved", arguments: [true, false])
  func powerCutWhileTelling(_ lasts: Bool) async throws {
    let listener = Listener()
    listener.hold(true)
    let first = Run(folder, listener)
    let telling = Task { await first.look("central") }
    #expect(await soon { listener.told.count == 1 })
    let next = Listener()
    let second = Run(folder, next)
    for _ in 0..<30 { if lasts { await second.look("central") } else { await second.look() } }
    #expect(next.events == [lasts ? .raised : .resolved])
    #expect((next.told.first?.key == listener.told.first?.key) == lasts)
    listener.hold(false)
    await telling.value
  }

  @Test("an end that waits to be told when the daemon stops is told after its start")
  func pendingEnd() async {
    let listener = Listener()
    let first = Run(folder, listener)
    await first.look("central")
    #expect(listener.events == [.raised])
    listener.answer(.notTold("no route"))
    for _ in 0..<8 { await first.look() }
    first.oversight.keep(now: Seen.moment(100))
    first.notifier.keep()
    listener.answer(.told)
    let second = Run(folder, listener)
    for _ in 0..<30 { await second.look() }
    #expect(listener.events == [.raised, .resolved])
    second.notifier.keep()
    // And then it is over.
    let third = Run(folder, listener)
    for _ in 0..<30 { await third.look() }
    #expect(third.notifier.known.isEmpty && listener.told.count == 2)
  }

  @Test("of two channels each knows what it was told, over a restart, too")
  func channels() async {
    let (webhook, broker) = (Listener("webhook"), Listener("mqtt"))
    broker.answer(.notTold("no connection"))
    let first = Run(folder, webhook, broker)
    await first.look("central")
    #expect(webhook.events == [.raised])
    first.notifier.keep()
    broker.answer(.told)
    let second = Run(folder, webhook, broker)
    for _ in 0..<30 { await second.look("central") }
    #expect(broker.events == [.raised] && webhook.events == [.raised])
    for _ in 0..<8 { await second.look() }
    #expect(broker.events == [.raised, .resolved] && webhook.events == [.raised, .resolved])
  }

  @Test("a file that cannot be read tells those again who were told, and is replaced; one on a full disk keeps nobody")
  func damage() async throws {
    let listener = Listener()
    let path = try folder.write("{\"version\":1,\"channels\":7}", to: "notified.json")
    await Run(folder, listener).look("central")
    #expect(listener.events == [.raised])
    let text = try #require(try? String(contentsOfFile: path, encoding: .utf8))
    #expect(text.contains(listener.told[0].key), "it is written before it is told")
    let nowhere = NotifierMemory(directory: folder.path + "/nowhere", logger: Logger(label: "test"))
    nowhere.write { ["webhook": [ToldAlarm(Self.news, isCertain: true)]] }
    #expect(nowhere.channels.isEmpty)
  }

  @Test("after a reload a channel that stays goes on with what waits, and a new one is told what lasts")
  func reload() async {
    let listener = Listener()
    let run = Run(folder)
    await run.look("a")
    run.notifier.adopt(Self.sender, channels: [listener.channel], interval: 0)
    await run.look("a")
    #expect(listener.events == [.raised])
    run.notifier.adopt(
      Notifier.Sender(gateway: "gw-2", site: nil, alarms: AlarmSettings()), channels: [listener.channel], interval: 0)
    await run.look("a", "b")
    #expect(listener.told.map(\.gateway) == ["gw", "gw-2"] && listener.told.map(\.subject) == ["a", "b"])
    run.notifier.adopt(Self.sender, channels: [], interval: 0)
    await run.look("a", "b", "c")
    #expect(run.notifier.known.isEmpty && listener.told.count == 2)
  }

  @Test("a webhook gets JSON with its token; anything but a 2xx, and nobody there, is a failure with its reason")
  func webhook() async throws {
    let folder = try TemporaryDirectory("webhook")
    let token = try folder.write("s3cret-token\n", to: "token")
    let server = try await FaultyUpstream { _, number in .answer(number == 0 ? 204 : 503) }
    var settings = UplinkSettings.HTTP(url: server.url(path: "/hook?team=a"))
    settings.tokenFile = token
    settings.timeout = 2_000_000_000
    let channel = Notifier.Channel.webhook(settings)
    let notice = AlarmNotice(Self.news, from: Self.sender)
    #expect(await channel.send(notice) == .told)
    let request = try #require(server.requests.first)
    #expect(request.method == "POST" && request.target == "/hook?team=a")
    #expect(request["Content-Type"] == "application/json" && request["Authorization"] == "Bearer s3cret-token")
    #expect(try JSONDecoder().decode(AlarmNotice.self, from: Data(request.body)) == notice)
    // Behind a proxy that has given up somebody may have taken it; who finds fault with it has not.
    let place = "http://127.0.0.1:\(server.port)"
    #expect(await channel.send(notice) == .unknown("\(place) answered 503"))
    server.follow { _, number in .answer(number == 2 ? 404 : 408) }
    #expect(await channel.send(notice) == .notTold("\(place) answered 404"))
    #expect(await channel.send(notice) == .unknown("\(place) answered 408"))
    server.follow { _, _ in .close }
    guard case .unknown = await channel.send(notice) else {
      Issue.record("it may have arrived")
      return
    }
    server.follow { _, _ in .never }
    guard case .unknown(let silent) = await channel.send(notice) else {
      Issue.record("it may have arrived")
      return
    }
    #expect(silent.contains("no whole answer in time"), "\(silent)")
    await server.shutdown()
    settings.url = "http://127.0.0.1:\(try freePort())/hook"
    guard case .notTold(let away) = await Notifier.Channel.webhook(settings).send(notice) else {
      Issue.record("nobody was there")
      return
    }
    #expect(away.contains("Connection refused") && !away.contains("s3cret"), "\(away)")
  }

  private func soon(_ condition: () -> Bool) async -> Bool {
    for _ in 0..<1_000 {
      if condition() { return true }
      try? await Task.sleep(nanoseconds: 5_000_000)
    }
    return condition()
  }
}
