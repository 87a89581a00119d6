import Telemetry
import Testing

@testable import Pipeline

@Suite("The view of devices")
struct DeviceViewTests {
  private static let route = Route(key: nil, captures: [], lineStart: [], captureObject: [])

  /// A reading whose key stands in its payload.
  private static func note(_ view: inout DeviceView, _ key: String, at offset: Int64, received: Int64) {
    let text = Array(key.utf8)
    let reading = Reading(
      key: .field(0..<text.count), time: 0, data: 0..<0, isCompact: true, offset: Offset(offset))
    text.withUnsafeBytes {
      view.note(reading, $0, route: route, offset: Offset(offset), received: received)
    }
  }

  private static func core(
    _ devices: Int = 10, change: (inout PipelineSettings) -> Void = { _ in }
  ) throws -> PipelineCore {
    let settings = try makeSettings(change: change)
    var core = try PipelineCore(settings: settings, version: "v", state: startState())
    core.devices = DeviceView(limit: devices)
    return core
  }

  private static func named(_ view: DeviceView?) -> [String: Int64] {
    Dictionary(
      uniqueKeysWithValues: (view?.devices() ?? []).map { (String(decoding: $0.key, as: UTF8.self), $0.readings) })
  }

  private static func second(_ number: Int64) -> Int64 { receiptWall + number * 1_000_000_000 }

  @Test("notes what goes into a batch, with its place in the log, and nothing that was refused, filtered or met before")
  func batches() throws {
    var core = try Self.core {
      $0.condition = "t > 0"
      $0.dedupe = .init(within: 1_000_000_000_000)
    }
    core.process(
      block([
        message("sensors/p1/climate", #"{"t":1}"#), message("sensors/p2/climate", #"{"t":-1}"#),
        message("sensors/p3/climate", "broken"), message("sensors/p1/climate", #"{"t":2}"#),
        message("sensors/p1/climate", #"{"t":2}"#), message("other", #"{"t":2}"#),
      ]), now: moment())
    #expect(Self.named(core.devices) == ["p1": 2])
    let device = try #require(core.devices?.devices().first)
    #expect(device.offset == Offset(3) && device.received == receiptWall)
    #expect(device.isNamed(Array("p1".utf8)) && !device.isNamed(Array("p2".utf8)))
  }

  @Test("notes what goes into windows, and keys of the topic and of the payload alike")
  func windows() throws {
    var core = try Self.core {
      $0.window = WindowingSettings(
        span: .tumbling(60_000_000_000), emit: [.init(name: "n", function: .count, argument: nil)])
      $0.each = try? FieldPath(parsing: "r")
      $0.key = "d"
    }
    core.process(
      block([message("sensors/x/climate", #"{"r":[{"d":"a"},{"d":"b\n"},{"d":"a"},{"d":7}]}"#)]), now: moment())
    #expect(Self.named(core.devices) == ["a": 2, #"b\n"#: 1, "7": 1])
  }

  @Test("counts nothing twice that is read again, and not what is put back")
  func again() throws {
    var core = try Self.core()
    let messages = (0..<4).map { message("sensors/p\($0 % 2)/climate", "{}") }
    core.process(block(messages), now: moment())
    let devices = core.devices
    core = try Self.core()
    core.devices = devices
    core.process(block(messages), now: moment())
    #expect(Self.named(core.devices)["p1"] == 3, "only the newest, of which nobody knows how much was read")
    core.requeue(
      DeadLetter(
        id: 1,
        rejection: Rejection(
          stage: .decode, rule: "json.syntax", reason: "", origin: messages[0].origin, log: logA, offset: Offset(0),
          received: moment(), payload: Array("{}".utf8))), now: moment())
    #expect(core.devices?.devices().map(\.readings) == [3, 3])
  }

  @Test("is none unless somebody sets it")
  func off() throws {
    var core = try PipelineCore(settings: try makeSettings(), version: "v", state: startState())
    core.process(block([message("sensors/p1/climate", "{}")]), now: moment())
    #expect(core.devices == nil)
  }

  @Test("forgets the longest silent first, whatever comes in what order", arguments: 1...8)
  func model(_ seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    let limit = Int.random(in: 1...70, using: &random)
    var view = DeviceView(limit: limit)
    // Key ▶ count and offset, the longest silent first.
    var model: [(key: String, count: Int64, offset: Int64)] = []
    var forgotten: Int64 = 0
    for offset in 1...Int64(4_000) {
      var key = "device-\(Int.random(in: 0..<100, using: &random))"
      if Int.random(in: 0..<10, using: &random) == 0 { key = String(repeating: key, count: 40) }
      Self.note(&view, key, at: offset, received: Self.second(offset))
      if let place = model.firstIndex(where: { $0.key == key }) {
        let old = model.remove(at: place)
        model.append((key, old.count + 1, offset))
      } else {
        if model.count == limit {
          model.removeFirst()
          forgotten += 1
        }
        model.append((key, 1, offset))
      }
      if offset % 500 == 0 {
        let shown = view.devices()
        #expect(shown.count == model.count && view.forgotten == forgotten)
        for one in model {
          let device = shown.first { $0.isNamed(Array(one.key.utf8)) }
          #expect(device?.readings == one.count && device?.offset == Offset(one.offset), "\(one)")
          #expect(device?.key == Array(one.key.utf8.prefix(DeviceView.longestKey)))
        }
      }
    }
    view.change(limit: 3)
    #expect(view.count == min(3, limit))
    #expect(Set(view.devices().map(\.offset)) == Set(model.suffix(min(3, limit)).map { Offset($0.offset) }))
  }

  @Test("pages are in the order of the keys, each behind the last one of the page before")
  func pages() {
    var view = DeviceView(limit: 100)
    for number in 0..<25 { Self.note(&view, "d\((number * 7) % 25 + 10)", at: Int64(number), received: 0) }
    var seen: [[UInt8]] = []
    while true {
      let page = view.devices(after: seen.last, limit: 10)
      if page.isEmpty { break }
      seen += page.map(\.key)
    }
    #expect(seen == (10..<35).map { Array("d\($0)".utf8) })
  }

  @Test("memory is bounded by the number of devices also where names are long and ever new")
  func bounded() throws {
    var view = DeviceView(limit: 50)
    for number in 0..<20_000 {
      Self.note(&view, "\(number)" + String(repeating: "x", count: 2_000), at: Int64(number), received: 0)
    }
    #expect(view.count == 50 && view.forgotten == 19_950)
    // Nothing in the program asks for the room that names take, so it is seen from outside.
    func held<T>(_ name: String, _: T.Type) throws -> Int {
      let array = Mirror(reflecting: view).children.first { $0.label == name }?.value as? ContiguousArray<T>
      return try #require(array).capacity
    }
    #expect(try held("keys", UInt8.self) < 2 * (50 * 300 + 65_536))
    #expect(try held("table", UInt32.self) <= 256)
  }

  @Test("the rate follows a device within some messages, counts its readings, and falls while it is silent")
  func rate() throws {
    var view = DeviceView(limit: 10)
    func device() throws -> DeviceView.Device { try #require(view.devices().first) }
    Self.note(&view, "a", at: 0, received: Self.second(0))
    #expect(try device().rate(now: Self.second(1)) == nil)
    var offset: Int64 = 0
    for number in 1...100 as ClosedRange<Int64> {
      offset += 1
      for _ in 0..<3 { Self.note(&view, "a", at: offset, received: Self.second(number * 10)) }
    }
    #expect(abs(try #require(try device().rate(now: Self.second(1_005))) - 0.3) < 0.02)
    // Faster from now on.
    for number in 1...64 as ClosedRange<Int64> {
      offset += 1
      Self.note(&view, "a", at: offset, received: Self.second(1_000 + number))
    }
    #expect(abs(try #require(try device().rate(now: Self.second(1_064))) - 1) < 0.1)
    #expect(try #require(try device().rate(now: Self.second(2_064))) < 0.1)
    // The clock is set back.
    Self.note(&view, "a", at: offset + 1, received: Self.second(-5_000))
    #expect(try device().rate(now: Self.second(-4_999)) == nil)
    Self.note(&view, "a", at: offset + 2, received: Self.second(-4_998))
    #expect(try device().rate(now: Self.second(-4_998)) == 0.5)
  }

  @Test("a copy stays as it was")
  func copies() {
    var view = DeviceView(limit: 2)
    Self.note(&view, "a", at: 1, received: 1)
    let copy = view
    for number in 2...9 as ClosedRange<Int64> { Self.note(&view, "b\(number)", at: number, received: number) }
    #expect(Self.named(copy) == ["a": 1] && Self.named(view) == ["b8": 1, "b9": 1])
  }
}
