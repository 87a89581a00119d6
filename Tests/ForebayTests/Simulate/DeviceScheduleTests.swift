import Testing

@testable import forebay

@Suite struct DeviceScheduleTests {
  private func dues(_ schedule: DeviceSchedule, _ recorded: [Int64]) -> [Int64] {
    var schedule = schedule
    return recorded.map {
      schedule.plan(recorded: $0, now: 0)
      return schedule.due
    }
  }

  @Test("a rate spaces messages evenly; a speed shrinks the recorded time")
  func paces() {
    let second: Int64 = 1_000_000_000
    let even = DeviceSchedule(pace: .every(Double(second) / 4, phase: 10), seed: 1)
    #expect(dues(even, [0, 0, 0]) == [10, second / 4 + 10, second / 2 + 10])
    let recorded = DeviceSchedule(pace: .recorded(speed: 60), seed: 1)
    #expect(dues(recorded, [0, 60_000, 300_000]) == [0, second, 5 * second])
  }

  @Test("jitter delays by up to its bound and never reorders a device's messages")
  func jitter() {
    let schedule = DeviceSchedule(pace: .every(100, phase: 0), jitter: 350, seed: 4)
    let dues = dues(schedule, [Int64](repeating: 0, count: 500))
    #expect(dues == dues.sorted())
    let delays = dues.enumerated().map { $1 - Int64($0) * 100 }
    #expect(delays.allSatisfy { (0...350).contains($0) } && Set(delays).count > 100)
  }

  @Test("what falls into an outage leaves together at its end")
  func outage() {
    let outage = DeviceSchedule.Outage(every: 1000, length: 300)
    #expect([0, 699, 700, 999, 1000, 1700, 2500].map(outage.release) == [0, 699, 1000, 1000, 1000, 2000, 2500])
    let later = DeviceSchedule.Outage(every: 1000, length: 300, phase: 500)
    #expect([0, 199, 200, 499, 500, 1199, 1200].map(later.release) == [0, 199, 500, 500, 500, 1199, 1500])
    let schedule = DeviceSchedule(pace: .every(250, phase: 0), outage: outage, seed: 1)
    #expect(dues(schedule, [0, 0, 0, 0, 0, 0]) == [0, 250, 500, 1000, 1000, 1250])
  }

  @Test("the queue gives devices by due time, and by number where that is the same")
  func queue() {
    var random = SplitMix64(seed: 9)
    var queue = DueQueue()
    var model: [Int: Int64] = [:]
    for device in 0..<50 {
      let due = Int64.random(in: 0...20, using: &random)
      queue.insert(device, due: due)
      model[device] = due
    }
    while let first = queue.first {
      let expected = model.min { ($0.value, $0.key) < ($1.value, $1.key) }
      #expect(first.device == expected?.key && first.due == expected?.value)
      let next =
        Int.random(in: 0..<3, using: &random) == 0
        ? nil : first.due + Int64.random(in: 0...30, using: &random)
      queue.updateFirst(due: next)
      model[first.device] = next
    }
    #expect(model.isEmpty && queue.isEmpty)
  }

  @Test("a recording begins again a step after its end, with times that go on")
  func laps() throws {
    let csv = try SeriesCSV(
      Array("timestamp,value\n1970-01-01 00:00:10,1\n1970-01-01 00:00:15,2.50\n".utf8), path: "a.csv")
    var device = SimulatedDevice(
      name: "pump-001", seriesName: csv.name, series: .recorded(csv), topic: "{series}/{device}/x",
      schedule: DeviceSchedule(pace: .recorded(speed: 1), seed: 1), remaining: 3,
      keepsRecordedTime: true)
    #expect(device.topic == "a/pump-001/x")
    var texts: [String] = []
    var payload: [UInt8] = []
    while device.plan(now: 0) != nil {
      device.next(wall: 99, into: &payload)
      texts.append(String(decoding: payload, as: UTF8.self))
    }
    #expect(
      texts == [
        #"{"device":"pump-001","seq":1,"ts":10000,"value":1,"series":"a"}"#,
        #"{"device":"pump-001","seq":2,"ts":15000,"value":2.50,"series":"a"}"#,
        #"{"device":"pump-001","seq":3,"ts":20000,"value":1,"series":"a"}"#,
      ])
  }

  @Test("a simulation goes on at the sequence number that it is given, and says as much as one from 1")
  func continues() {
    var plan = SimulationPlan(access: BrokerAccess(host: "h", port: 1))
    plan.devices = 2
    plan.count = 4
    plan.firstSequence = 101
    var payload: [UInt8] = []
    var numbers: [Int] = []
    for var device in plan.makeDevices() {
      while device.plan(now: 0) != nil {
        device.next(wall: 1, into: &payload)
        numbers.append(device.sequence)
        #expect(String(decoding: payload, as: UTF8.self).contains(#""seq":\#(device.sequence),"#))
      }
    }
    #expect(numbers == [101, 102, 101, 102])
  }

  @Test("messages are shared out among the devices to the last one")
  func shares() {
    var plan = SimulationPlan(access: BrokerAccess(host: "h", port: 1))
    plan.devices = 3
    plan.count = 11
    #expect(plan.makeDevices().map(\.remaining) == [4, 4, 3])
    plan.count = nil
    #expect(plan.makeDevices().map(\.remaining) == [nil, nil, nil])
  }

  @Test(
    "a topic that devices cannot publish to is refused",
    arguments: ["", "a/+/b", "a/#", "{device", "{devise}/x", "a\u{0}b"])
  func topics(template: String) {
    #expect(TopicTemplate.fault(template) != nil)
    #expect(TopicTemplate.fault("sensors/{device}/{series}") == nil)
  }

  @Test("the broker's address is read from its URL")
  func addresses() {
    #expect(BrokerAccess(url: "mqtt://127.0.0.1:1884")?.port == 1884)
    #expect(BrokerAccess(url: "mqtt://broker")?.port == 1883)
    let secured = BrokerAccess(url: "mqtts://[::1]/")
    #expect(secured?.host == "::1" && secured?.port == 8883 && secured?.tls != nil)
    for wrong in ["http://a", "mqtt://", "mqtt://a:b", "mqtt://a:0", "mqtt://u@a", "mqtt://a/b", "a:1883"] {
      #expect(BrokerAccess(url: wrong) == nil, "\(wrong)")
    }
  }
}
