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
  /// A channel that notes what it is told, and fails while it is told to.
  private final class Listener: Sendable {
    private let state = Mutex<(told: [AlarmNotice], fault: String?)>(([], nil))
    var told: [AlarmNotice] { state.withLock { $0.told } }
    func fail(_ fault: String?) { state.withLock { $0.fault = fault } }

    var channel: Notifier.Channel {
      Notifier.Channel(name: "webhook") { [self] notice in
        state.withLock { state in
          if state.fault == nil { state.told.append(notice) }
          return state.fault
        }
      }
    }
  }

  private final class Clock: Sendable {
    private let time = Mutex<Int64>(0)
    var now: Int64 { time.withLock { $0 } }
    func pass(seconds: Int64) { time.withLock { $0 += seconds * 1_000_000_000 } }
  }

  private static let sender = Notifier.Sender(gateway: "gw", site: "plant", alarms: AlarmSettings())

  private static func event(_ change: AlarmEvent.Change, _ subject: String = "central") -> AlarmEvent {
    AlarmEvent(
      change,
      Alarm(kind: "uplink", subject: subject, severity: .page, text: "away", since: 1_700_000_000_000_000_000))
  }

  @Test("a notice says which gateway, which alarm, since when, and where to read what to do")
  func notice() throws {
    let notice = AlarmNotice(Self.event(.raised), from: Self.sender)
    #expect(
      try Output.json(notice, pretty: false)
        == #"{"event":"raised","gateway":"gw","kind":"uplink","runbook":"/usr/share/doc/forebay/operations.md#uplink","#
        + #""severity":"page","since":"2023-11-14T22:13:20Z","site":"plant","subject":"central","text":"away","version":1}"#
    )
  }

  @Test("what could not be told is told later, and a channel that fails for long is named")
  func failures() async throws {
    let listener = Listener()
    listener.fail("no route")
    let clock = Clock()
    let notifier = Notifier(
      Self.sender, channels: [listener.channel], interval: 0, logger: Logger(label: "test"),
      now: { clock.now })
    notifier.add([Self.event(.raised)])
    notifier.start()
    #expect(await soon { notifier.untold.count == 1 && listener.told.isEmpty })
    #expect(notifier.failing().allSatisfy { $0.fault == nil })
    for _ in 0..<20 {
      clock.pass(seconds: 60)
      notifier.start()
      try await Task.sleep(nanoseconds: 5_000_000)
    }
    #expect(notifier.failing().map(\.fault) == ["no route"])
    listener.fail(nil)
    clock.pass(seconds: 600)
    notifier.start()
    #expect(await soon { listener.told.count == 1 && notifier.untold.isEmpty })
    #expect(notifier.failing().allSatisfy { $0.fault == nil })
    notifier.add([Self.event(.resolved)])
    notifier.start()
    #expect(await soon { listener.told.map(\.event) == [.raised, .resolved] })
  }

  @Test("after a reload a channel that stays goes on with what waits, and one that is gone is forgotten")
  func reload() async {
    let listener = Listener()
    let notifier = Notifier(
      Self.sender, channels: [], interval: 0, logger: Logger(label: "test"), now: { 0 })
    notifier.add([Self.event(.raised, "nobody hears this")])
    notifier.adopt(Self.sender, channels: [listener.channel], interval: 0)
    notifier.add([Self.event(.raised)])
    notifier.adopt(
      Notifier.Sender(gateway: "gw-2", site: nil, alarms: AlarmSettings()), channels: [listener.channel], interval: 0)
    notifier.start()
    #expect(await soon { listener.told.map(\.gateway) == ["gw-2"] })
    notifier.adopt(Self.sender, channels: [], interval: 0)
    notifier.add([Self.event(.raised, "b")])
    #expect(notifier.untold.isEmpty)
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
    let notice = AlarmNotice(Self.event(.raised), from: Self.sender)
    #expect(await channel.send(notice) == nil)
    let request = try #require(server.requests.first)
    #expect(request.method == "POST" && request.target == "/hook?team=a")
    #expect(request["Content-Type"] == "application/json" && request["Authorization"] == "Bearer s3cret-token")
    #expect(try JSONDecoder().decode(AlarmNotice.self, from: Data(request.body)) == notice)
    let refused = await channel.send(notice) ?? ""
    #expect(refused == "http://127.0.0.1:\(server.port) answered 503")
    server.follow { _, _ in .never }
    let silent = await channel.send(notice) ?? ""
    #expect(silent.contains("no whole answer in time"), "\(silent)")
    await server.shutdown()
    settings.url = "http://127.0.0.1:\(try freePort())/hook"
    let away = await Notifier.Channel.webhook(settings).send(notice) ?? ""
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
