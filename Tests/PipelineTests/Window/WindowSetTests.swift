import Pipeline
import Telemetry
import Testing

func settings(
  _ span: WindowSettings.Span, _ functions: [WindowSettings.Function], correctFor: Int64 = 0,
  limit: Int = 1_000, overflow: WindowSettings.Overflow = .closeEarly
) throws -> WindowSettings {
  try WindowSettings(
    span: span, aggregates: functions.map { .init($0, input: 0) }, inputs: 1, correctFor: correctFor,
    maximumWindows: limit, overflow: overflow)
}

@Suite("Windows")
struct WindowSetTests {
  @Test("Tumbling windows give every aggregate over the readings between their bounds")
  func tumbling() throws {
    var set = WindowSet(
      settings: try settings(
        .tumbling(10 * second),
        [
          .count, .sum, .minimum, .maximum, .average, .first, .last, .standardDeviation, .percentile(0.5), .rate,
          .timeWeightedAverage, .distinct,
        ]))
    // Out of order.
    for (at, value) in [(4, 30.0), (1, 10.0), (9, 20.0), (6, 40.0), (10, 99.0)] {
      let placement = set.add(day + Int64(at) * second, "a", value)
      #expect(placement.taken == 1 && placement.isAbsorbed && !placement.isLate)
    }
    #expect(set.windows == 2)
    #expect(set.advance(to: day + 10 * second - 1).isEmpty)
    let results = set.advance(to: day + 10 * second)
    #expect(results.count == 1)
    let result = try #require(results.first)
    #expect(result.key == Array("a".utf8))
    #expect(result.start == day && result.end == day + 10 * second)
    #expect(result.count == 4 && result.completeness == .complete && result.revision == 0 && result.unordered == 0)
    // 10, 30, 40, 20 at 1, 4, 6, 9 s: 3, 2, 3 and 1 s long. The counter grew by 20, by 10 and, from zero, by 20.
    let expected: [WindowResult.Value] = [
      .integer(4), .number(100), .number(10), .number(40), .number(25), .number(10), .number(20),
      .number((500.0 / 3).squareRoot()), .number(20), .number(6.25), .number(230.0 / 9), .integer(4),
    ]
    #expect(result.values == expected)
    #expect(set.windows == 1 && set.keys == 1)
  }

  @Test("A missing or endless input is no value, and a window without values says so")
  func missing() throws {
    var set = WindowSet(
      settings: try settings(
        .tumbling(second), [.count, .sum, .average, .minimum, .last, .standardDeviation, .rate, .distinct]))
    set.add(day, "a", [.missing])
    set.add(day, "a", .infinity)
    set.add(day, "a", .nan)
    let result = try #require(set.advance(to: day + second).first)
    #expect(result.count == 3)
    #expect(
      result.values == [.integer(2), .number(0), .missing, .missing, .missing, .missing, .missing, .integer(0)])
    set.add(day + second, "a", 1.7e308)
    set.add(day + second, "a", 1.7e308)
    #expect(set.advance(to: day + 2 * second).first?.values[1] == .missing, "a sum beyond all doubles")
  }

  @Test("Compensated sums keep what plain ones lose")
  func compensated() throws {
    var set = WindowSet(settings: try settings(.tumbling(second), [.sum]))
    for value in [1.0, 1e100, 1.0, -1e100] { set.add(day, "a", value) }
    #expect(set.advance(to: day + second).first?.values == [.number(2)])
  }

  @Test("Hopping windows hold each reading in all that cover it; late for some is not late for others")
  func hopping() throws {
    var set = WindowSet(settings: try settings(.hopping(length: 10 * second, every: 4 * second), [.count]))
    let base = day - day % (4 * second)
    #expect(set.add(base + second, "a", 1).taken == 3)
    #expect(set.add(base + 3 * second, "a", 1).taken == 2)
    let first = set.advance(to: base + 2 * second)
    #expect(first.map(\.start) == [base - 8 * second] && first.map(\.count) == [1])
    let placement = set.add(base + second, "a", 1)
    #expect(placement.taken == 2 && placement.missed == 1 && placement.lateness == second)
    #expect(placement.isAbsorbed && !placement.isLate)
    let rest = set.advance(to: base + 100 * second)
    #expect(rest.map(\.start) == [base - 4 * second, base])
    #expect(rest.map(\.count) == [3, 3])
    #expect(set.add(base + second, "a", 1).isLate)
    #expect(set.windows == 0 && set.keys == 0)
  }

  @Test("Sessions end at a pause, and a reading between two joins them")
  func sessions() throws {
    var set = WindowSet(
      settings: try settings(
        .session(gap: 5 * second), [.count, .sum, .first, .last, .rate, .timeWeightedAverage, .standardDeviation]))
    for (at, value) in [(20, 5.0), (0, 1.0), (3, 2.0), (12, 4.0), (17, 4.5)] {
      set.add(day + Int64(at) * second, "a", value)
    }
    #expect(set.windows == 3, "0…3, 12, and 17…20: a pause of exactly the gap ends a session")
    set.add(day + 7 * second, "a", 3)
    set.add(day + 8 * second, "a", 3.5)
    #expect(set.windows == 2)
    let results = set.advance(to: day + 17 * second)
    #expect(results.map(\.start) == [day] && results.map(\.end) == [day + 17 * second])
    let values = try #require(results.first?.values)
    #expect(Array(values[..<4]) == [.integer(5), .number(13.5), .number(1), .number(4)])
    #expect(values[4] == .number(3.0 / 12))
    // 1, 2, 3 and 3.5 hold for 3, 4, 1 and 4 s.
    #expect(values[5] == .number(28.0 / 12))
    guard case .number(let deviation) = values[6] else {
      Issue.record("no deviation")
      return
    }
    // Squared differences from 2.7: 2.89, 0.49, 0.09, 0.64 and 1.69.
    #expect(abs(deviation - (5.8 / 4).squareRoot()) < 1e-12)
    #expect(set.add(day + 2 * second, "a", 9).isLate)
    #expect(set.advance(to: day + 30 * second).map(\.count) == [2])
  }

  @Test("Closed windows give corrected results for a while, with a revision, and then count as late")
  func corrections() throws {
    var set = WindowSet(
      settings: try settings(
        .tumbling(10 * second), [.sum, .rate, .timeWeightedAverage], correctFor: 20 * second))
    set.add(day, "a", 1)
    set.add(day + 4 * second, "a", 3)
    #expect(set.advance(to: day + 15 * second).map(\.completeness) == [.complete])
    let late = set.add(day + 2 * second, "a", 2)
    #expect(late.corrected == 1 && late.lateness == 13 * second && late.isAbsorbed)
    set.add(day + 3 * second, "a", 2)
    #expect(set.add(day + second, "b", 7).corrected == 1, "a key that had no reading in time")
    #expect(set.mayGiveResults(adding: nil, advancingTo: 0))
    let corrected = set.advance(to: day + 15 * second)
    #expect(corrected.map(\.key) == [Array("a".utf8), Array("b".utf8)])
    #expect(corrected.allSatisfy { $0.completeness == .corrected && $0.revision == 1 && $0.unordered == 0 })
    // 1, 2, 2 and 3 hold for 2, 1, 1 and 6 s.
    let expected: [WindowResult.Value] = [.number(8), .number(0.5), .number(2.4)]
    #expect(corrected.first?.values == expected)
    set.add(day + 5 * second, "a", 1)
    #expect(set.advance(to: 0).map(\.revision) == [2])
    #expect(set.advance(to: day + 30 * second).isEmpty)
    #expect(set.windows == 0)
    #expect(set.add(day + 5 * second, "a", 1).isLate)
  }

  @Test("A closed session keeps its bounds: only a reading within them corrects it")
  func sessionCorrections() throws {
    var set = WindowSet(settings: try settings(.session(gap: 5 * second), [.sum], correctFor: 60 * second))
    set.add(day, "a", 1)
    set.add(day + 4 * second, "a", 1)
    #expect(set.advance(to: day + 20 * second).map(\.end) == [day + 9 * second])
    #expect(set.add(day + 3 * second, "a", 1).corrected == 1)
    #expect(set.add(day + 5 * second, "a", 1).isLate)
    #expect(set.add(day - second, "a", 1).isLate)
    let corrected = set.advance(to: day + 20 * second)
    #expect(corrected.map(\.start) == [day] && corrected.map(\.end) == [day + 9 * second])
    #expect(corrected.map(\.revision) == [1] && corrected.map(\.count) == [3])
  }

  @Test("Past the limit the windows that would close next close early and say so, or no more are opened")
  func limit() throws {
    var set = WindowSet(settings: try settings(.tumbling(10 * second), [.count], limit: 3))
    for number in 0..<5 { set.add(day + Int64(number) * 10 * second, "k\(number)", 1) }
    #expect(set.mayGiveResults(adding: nil, advancingTo: 0))
    let early = set.advance(to: day)
    #expect(early.map(\.end) == [day + 10 * second, day + 20 * second])
    #expect(early.allSatisfy { $0.completeness == .early })
    #expect(set.windows == 3 && set.closedEarly == 2)
    // The window is opened once more, and says that it has not all its readings.
    set.add(day + 15 * second, "k1", 1)
    #expect(set.advance(to: day).map(\.completeness) == [.early])
    let rest = set.advance(to: day + 100 * second)
    #expect(rest.map(\.completeness) == [.complete, .complete, .complete])

    var strict = WindowSet(
      settings: try settings(.tumbling(10 * second), [.count], limit: 2, overflow: .refuse))
    #expect(strict.add(day, "a", 1).taken == 1)
    #expect(strict.add(day, "b", 1).taken == 1)
    let refused = strict.add(day, "c", 1)
    #expect(refused.refused == 1 && !refused.isAbsorbed && !refused.isLate)
    #expect(strict.add(day, "a", 1).taken == 1)
    #expect(strict.advance(to: day).isEmpty)
    #expect(strict.drain().map(\.count) == [2, 1])
    #expect(strict.keys == 0 && strict.windows == 0)
  }

  @Test("Results come by window end and key, whatever the order of the readings")
  func order() throws {
    var generator = StreamGenerator(seed: 5)
    var set = WindowSet(settings: try settings(.tumbling(second), [.count]))
    for number in (0..<200).shuffled(using: &generator) {
      set.add(day + Int64(number % 7) * second, "device \(number)", 1)
    }
    let results = set.advance(to: day + 100 * second)
    #expect(results.count == 200)
    for (a, b) in zip(results, results.dropFirst()) {
      #expect(a.end < b.end || a.end == b.end && a.key.lexicographicallyPrecedes(b.key))
    }
  }

  @Test("Under other rules closed time stays closed, and windows that began before are not called complete")
  func otherRules() throws {
    var set = WindowSet(settings: try settings(.tumbling(10 * second), [.count]))
    set.add(day + second, "a", 1)
    set.add(day + 25 * second, "a", 1)
    #expect(set.advance(to: day + 20 * second).map(\.completeness) == [.complete])
    #expect(set.drain().map(\.completeness) == [.early])
    let rows = set.changes().filter { $0.value != nil }

    var other = try WindowSet(restoring: rows, settings: try settings(.tumbling(20 * second), [.count, .sum]))
    #expect(other.add(day + 2 * second, "a", 1).isLate, "its window was given under the old rules")
    #expect(other.add(day + 29 * second, "a", 1).isAbsorbed, "not all of the old window was given")
    #expect(other.add(day + 41 * second, "a", 1).isAbsorbed)
    // What is stored from now on can be read under the new rules.
    let stored = other.changes().filter { $0.value != nil }
    let again = try WindowSet(restoring: stored, settings: try settings(.tumbling(20 * second), [.count, .sum]))
    #expect(again.windows == 2)
    let results = other.advance(to: day + 100 * second)
    #expect(results.map(\.start) == [day + 20 * second, day + 40 * second])
    #expect(results.map(\.completeness) == [.early, .complete])

    var sessions = try WindowSet(restoring: rows, settings: try settings(.session(gap: 5 * second), [.count]))
    #expect(sessions.add(day + 3 * second, "a", 1).isLate)
    sessions.add(day + 28 * second, "a", 1)
    sessions.add(day + 40 * second, "a", 1)
    #expect(sessions.advance(to: day + 100 * second).map(\.completeness) == [.early, .complete])
  }

  @Test("A watermark that went back opens time again, and windows of it are not called complete")
  func goBack() throws {
    var set = WindowSet(settings: try settings(.tumbling(10 * second), [.count]))
    set.add(day, "a", 1)
    #expect(set.advance(to: day + 1_000_000 * second).map(\.completeness) == [.complete])
    #expect(set.add(day + 20 * second, "a", 1).isLate)
    set.goBack(to: day + 5 * second)
    #expect(set.add(day + 20 * second, "a", 1).taken == 1)
    #expect(set.advance(to: day + 30 * second).map(\.completeness) == [.early])
  }

  @Test("Times at the ends of all time and wild settings do no harm")
  func extremes() throws {
    let year = 366 * 86_400 * second
    let spans: [WindowSettings.Span] = [
      .tumbling(second), .hopping(length: 10 * second, every: 3 * second), .session(gap: year),
    ]
    let wild: [Int64] = [
      .min, .max, .min + 1, .max - 1, 0, -1, 1, -5_000_000_000, .max / 2, .min / 2, .max / 10 * 9,
    ]
    for span in spans {
      var set = WindowSet(settings: try settings(span, [.average, .rate, .timeWeightedAverage], correctFor: year))
      for time in wild {
        set.add(time, "a", 1)
      }
      _ = set.advance(to: 0)
      for time in wild.reversed() { set.add(time, "a", 2) }
      _ = set.advance(to: .max)
      _ = set.advance(to: .min)
      #expect(set.windows == 0 && set.keys == 0)
      #expect(!set.add(0, "a", 1).isAbsorbed)
    }
    #expect(throws: WindowSettingsError.length(0)) { try settings(.tumbling(0), [.count]) }
    #expect(throws: WindowSettingsError.overlap(101)) {
      try settings(.hopping(length: 101 * second, every: second), [.count])
    }
    #expect(throws: WindowSettingsError.percentile(1)) { try settings(.tumbling(second), [.count, .percentile(.nan)]) }
    #expect(throws: WindowSettingsError.input(0)) {
      try WindowSettings(span: .tumbling(second), aggregates: [.init(.sum, input: nil)], inputs: 1)
    }
  }
}
