import Foundation
import Pipeline
import Testing

/// The series of the Numenta Anomaly Benchmark, where they are there.
private enum NAB {
  static let folder: URL = {
    let root =
      ProcessInfo.processInfo.environment["FOREBAY_VECTORS"].map { URL(fileURLWithPath: $0) }
      ?? URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("shared/vectors")
    return root.deletingLastPathComponent().appendingPathComponent("data/nab")
  }()

  static let names = [
    "ambient_temperature_system_failure", "cpu_utilization_asg_misconfiguration", "ec2_request_latency_system_failure",
    "machine_temperature_system_failure", "nyc_taxi", "rogue_agent_key_hold", "rogue_agent_key_updown",
  ]

  static let exist = FileManager.default.fileExists(atPath: folder.path)

  /// Times in nanoseconds since 1970, and values.
  static func rows(_ name: String) throws -> [(time: Int64, value: Double)] {
    let text = try String(contentsOf: folder.appendingPathComponent(name + ".csv"), encoding: .utf8)
    let format = DateFormatter()
    format.locale = Locale(identifier: "en_US_POSIX")
    format.timeZone = TimeZone(identifier: "UTC")
    format.dateFormat = "yyyy-MM-dd HH:mm:ss"
    return try text.split(whereSeparator: \.isNewline).dropFirst().map { line in
      let fields = line.split(separator: ",")
      let date = try #require(format.date(from: String(fields[0])))
      let value = try #require(Double(fields[1].trimmingCharacters(in: .whitespaces)))
      return (Int64(date.timeIntervalSince1970) * second, value)
    }
  }
}

private func number(_ value: WindowResult.Value) -> Double {
  switch value {
  case .missing: .nan
  case .integer(let value): Double(value)
  case .number(let value), .estimate(let value, _): value
  }
}

private func isNear(_ a: Double, _ b: Double, _ tolerance: Double = 1e-9) -> Bool {
  abs(a - b) <= tolerance * max(1, abs(a), abs(b))
}

@Suite(
  "Known series", .enabled(if: NAB.exist, "SKIPPED: the NAB series are not at ../shared/data/nab"))
struct KnownSeriesTests {
  @Test("Windows over the NAB series equal plain computation", arguments: NAB.names)
  func series(name: String) throws {
    let rows = try NAB.rows(name)
    #expect(rows.count > 1_000)
    let shares = [0.01, 0.25, 0.5, 0.9, 0.99, 1]
    for length in [3_600 * second, 7 * 86_400 * second] {
      var set = WindowSet(
        settings: try settings(
          .tumbling(length),
          [
            .count, .sum, .average, .minimum, .maximum, .first, .last, .standardDeviation, .timeWeightedAverage,
            .distinct,
          ] + shares.map { .percentile($0) }, limit: 1_000))
      var results: [WindowResult] = []
      for row in rows {
        set.add(row.time, name, row.value)
        results += set.advance(to: row.time - 86_400 * second)
      }
      results += set.advance(to: .max)
      let groups = Dictionary(grouping: rows) { $0.time / length * length }
      #expect(results.map(\.start) == groups.keys.sorted())
      for result in results {
        let group = try #require(groups[result.start]).enumerated()
          .sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }.map(\.element)
        let values = group.map(\.value)
        let sorted = values.sorted()
        let count = Double(values.count)
        let mean = values.reduce(0, +) / count
        let given = result.values.map(number)
        #expect(result.count == Int64(values.count) && given[0] == count)
        #expect(isNear(given[1], values.reduce(0, +)))
        #expect(isNear(given[2], mean))
        #expect(given[3] == sorted[0] && given[4] == sorted[sorted.count - 1])
        #expect(given[5] == values[0] && given[6] == values[values.count - 1])
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        #expect(count < 2 ? given[7].isNaN : isNear(given[7], (squares / (count - 1)).squareRoot()))
        var area = values[values.count - 1] * Double(result.end - group[group.count - 1].time)
        for (a, b) in zip(group, group.dropFirst()) { area += a.value * Double(b.time - a.time) }
        #expect(isNear(given[8], area / Double(result.end - group[0].time)))
        let different = Double(Set(values).count)
        #expect(different <= 256 ? given[9] == different : abs(given[9] - different) < 0.08 * different)
        for (index, share) in shares.enumerated() {
          let exact = sorted[max(1, Int((share * count).rounded(.up))) - 1]
          guard case .estimate(let value, let error) = result.values[10 + index] else {
            #expect(given[10 + index] == exact)
            continue
          }
          #expect(values.count > 64 && error <= 1.0 / 128)
          #expect(abs(value - exact) <= error * abs(exact))
        }
      }
    }
  }
}

@Suite("Sketches")
struct SketchTests {
  private func wide(_ generator: inout StreamGenerator) -> Double {
    Double(sign: .plus, exponent: generator.below(60) - 30, significand: 1 + Double(generator.below(1_000)) / 1e3)
  }

  private func any(_ generator: inout StreamGenerator) -> Double {
    let value = Double(bitPattern: generator.next())
    return value.isFinite ? value : 0
  }

  @Test("Percentiles of any values stay within the error that they state, whatever the order")
  func quantiles() throws {
    var generator = StreamGenerator(seed: 1)
    let kinds: [(name: String, error: Double, make: (inout StreamGenerator) -> Double)] = [
      ("narrow", 1.0 / 128, { 20 + Double($0.below(1_000)) / 100 }),
      ("both signs and zero", 1.0 / 128, { Double($0.below(2_001) - 1_000) }),
      ("wide", 1.0 / 16, wide), ("all there are", 7.5, any),
    ]
    for (name, worst, make) in kinds {
      let values = (0..<5_000).map { _ in make(&generator) }
      let shares = [0, 0.01, 0.5, 0.95, 1.0]
      let settings = try settings(.tumbling(second), shares.map { .percentile($0) })
      var set = WindowSet(settings: settings)
      var shuffled = WindowSet(settings: settings)
      for value in values { set.add(day, "a", value) }
      for value in values.shuffled(using: &generator) { shuffled.add(day, "a", value) }
      let result = try #require(set.advance(to: .max).first)
      #expect(result.values == shuffled.advance(to: .max).first?.values, "\(name)")
      let sorted = values.sorted()
      for (share, value) in zip(shares, result.values) {
        guard case .estimate(let estimate, let error) = value else {
          Issue.record("\(name): no estimate")
          continue
        }
        #expect(error <= worst, "\(name)")
        let exact = sorted[max(1, Int((share * 5_000).rounded(.up))) - 1]
        #expect(abs(estimate - exact) <= error * abs(exact) || abs(exact) < 1e-300, "\(name) \(share)")
      }
    }
  }

  @Test("Different values are counted exactly up to 256, and within the stated error beyond")
  func distinct() throws {
    for count in [1, 255, 256, 257, 1_000, 20_000, 200_000] {
      var set = WindowSet(settings: try settings(.tumbling(second), [.distinct]))
      for round in 0..<2 {
        for number in 0..<count {
          let input = withUnsafeBytes(of: number) { WindowInput.distinct($0) }
          set.add(day, "a", [input])
          if round == 1, number > 1_000 { break }
        }
      }
      let value = try #require(set.advance(to: .max).first?.values.first)
      switch value {
      case .integer(let exact): #expect(count <= 256 && exact == Int64(count))
      case .estimate(let estimate, let error):
        #expect(count > 256 && abs(estimate - Double(count)) < 3 * error * Double(count), "\(count): \(estimate)")
      default: Issue.record("no count")
      }
    }
  }

  @Test("Sessions that join give the sketches, moments and order of one session")
  func merged() throws {
    let functions: [WindowSettings.Function] = [
      .percentile(0.5), .percentile(0.99), .distinct, .standardDeviation, .rate, .timeWeightedAverage, .sum,
    ]
    for count in [20, 60, 700] {
      var generator = StreamGenerator(seed: UInt64(count))
      let readings = (0..<count).map { number in
        (day + Int64(number) * second / 10 + (number < count / 2 ? 0 : 5 * second), Double(generator.below(4_000)) / 16)
      }
      var joined = WindowSet(settings: try settings(.session(gap: 4 * second), functions))
      var single = WindowSet(settings: try settings(.session(gap: 4 * second), functions))
      let bridge = (day + Int64(count / 2) * second / 10 + 2 * second, 7.0)
      for (time, value) in readings { joined.add(time, "a", value) }
      #expect(joined.windows == 2)
      joined.add(bridge.0, "a", bridge.1)
      #expect(joined.windows == 1)
      for (time, value) in (readings + [bridge]).sorted(by: { $0.0 < $1.0 }) { single.add(time, "a", value) }
      let a = try #require(joined.advance(to: .max).first)
      let b = try #require(single.advance(to: .max).first)
      #expect(a.start == b.start && a.end == b.end && a.count == b.count && a.unordered == 0)
      #expect(Array(a.values[..<3]) == Array(b.values[..<3]))
      for (a, b) in zip(a.values[3...], b.values[3...]) { #expect(isNear(number(a), number(b))) }
    }
  }

  @Test("A session without values joins others and changes nothing of their order")
  func mergedWithoutValues() throws {
    let functions: [WindowSettings.Function] = [.rate, .timeWeightedAverage, .first, .last]
    var joined = WindowSet(settings: try settings(.session(gap: 4 * second), functions))
    var single = WindowSet(settings: try settings(.session(gap: 4 * second), functions))
    var readings: [(at: Int64, input: WindowInput)] = (0..<700).map { (200 + $0, .number(Double($0 * 7 % 50 + 20))) }
    // In tenths of a second: a session without values before, joined, and one with a value before that, joined.
    readings += [(130, .missing), (165, .missing), (60, .number(3)), (95, .missing)]
    for (at, input) in readings { joined.add(day + at * second / 10, "a", [input]) }
    for (at, input) in readings.sorted(by: { $0.at < $1.at }) { single.add(day + at * second / 10, "a", [input]) }
    #expect(joined.windows == 1 && single.windows == 1)
    let a = try #require(joined.advance(to: .max).first)
    let b = try #require(single.advance(to: .max).first)
    #expect(a.start == b.start && a.count == b.count)
    for (a, b) in zip(a.values, b.values) { #expect(isNear(number(a), number(b))) }
  }
}
