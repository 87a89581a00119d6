import Foundation
import Pipeline
import Telemetry
import Testing

/// Real series through a pipeline, against aggregates that Python computes on its own.
@Suite("Windows over real series")
struct WindowSeriesTests {
  private static let root = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  private static var folder: URL {
    if let folder = ProcessInfo.processInfo.environment["FOREBAY_DATA"] { return URL(filePath: folder) }
    return root.deletingLastPathComponent().appending(path: "shared/data/nab")
  }

  /// Two hours from each multiple of two hours: count, sum, mean, least, most, deviation of a sample, median by nearest
  /// rank, time-weighted average. Readings of one time stand in the order of the file; one that jumps back is in its
  /// place.
  private static let python = """
    import csv, sys, math, statistics, json, calendar, time
    from fractions import Fraction
    windows = {}
    for number, row in enumerate(csv.DictReader(open(sys.argv[1]))):
        t = calendar.timegm(time.strptime(row['timestamp'][:19], '%Y-%m-%d %H:%M:%S'))
        windows.setdefault(t // 7200 * 7200, []).append((t, number, float(row['value'])))
    for start, rows in sorted(windows.items()):
        rows.sort(key=lambda row: (row[0], row[1]))
        values = [value for _, _, value in rows]
        exact = [Fraction(value) for value in values]
        mean = sum(exact) / len(exact)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in exact) / (len(exact) - 1)) if len(exact) > 1 else None
        ends = [t for t, _, _ in rows][1:] + [start + 7200]
        area = sum(value * (end - t) for (t, _, _), value, end in zip(rows, exact, ends))
        weighted = area / (start + 7200 - rows[0][0])
        print(json.dumps([start, len(values), float(sum(exact)), float(mean), min(values), max(values), deviation,
                          sorted(values)[math.ceil(len(values) / 2) - 1], float(weighted)]))
    """

  private static func settings() throws -> PipelineSettings {
    let functions: [(String, WindowSettings.Function)] = [
      ("sum", .sum), ("mean", .average), ("least", .minimum), ("most", .maximum), ("deviation", .standardDeviation),
      ("median", .percentile(0.5)), ("weighted", .timeWeightedAverage),
    ]
    return try makeSettings(time: .field("t", .seconds)) {
      $0.window = WindowingSettings(
        span: .tumbling(2 * 3_600_000_000_000),
        emit: functions.map { WindowingSettings.Emitted(name: $0.0, function: $0.1, argument: "v") })
      $0.window?.watermark.allowedLateness = 7 * 86_400_000_000_000
    }
  }

  /// Rows of a series as messages of a device.
  private static func messages(_ file: URL) throws -> [Message] {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
    return try String(contentsOf: file, encoding: .utf8).split(whereSeparator: \.isNewline).dropFirst().map { line in
      let cells = line.split(separator: ",")
      let parts = cells[0].split { "-: .".contains($0) }.compactMap { Int($0) }
      let date = DateComponents(
        year: parts[0], month: parts[1], day: parts[2], hour: parts[3], minute: parts[4], second: parts[5])
      let time = Int(try #require(calendar.date(from: date)).timeIntervalSince1970)
      return message("sensors/d1/climate", #"{"t":\#(time),"v":\#(cells[1])}"#)
    }
  }

  private static func computed(_ file: URL) throws -> [[Double?]] {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3", "-c", python, file.path]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let text = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return try text.split(separator: UInt8(ascii: "\n")).map { try JSONDecoder().decode([Double?].self, from: $0) }
  }

  private struct Line: Decodable {
    struct Data: Decodable {
      struct Window: Decodable {
        var start: String
        var count: Int
        var relativeError: [String: Double]?
        enum CodingKeys: String, CodingKey {
          case start, count
          case relativeError = "relative_error"
        }
      }
      var window: Window
      var sum, mean, least, most, median, weighted: Double
      var deviation: Double?
    }
    var data: Data
  }

  static let series = [
    "ambient_temperature_system_failure", "cpu_utilization_asg_misconfiguration",
    "ec2_request_latency_system_failure", "machine_temperature_system_failure", "nyc_taxi", "rogue_agent_key_hold",
    "rogue_agent_key_updown",
  ]

  @Test(
    "aggregates of real series agree with exact ones to 1e-9",
    .enabled(
      if: FileManager.default.fileExists(atPath: folder.path),
      "SKIPPED: the series are not at ../shared/data/nab; set FOREBAY_DATA to their folder"), arguments: series)
  func aggregates(series: String) throws {
    let file = Self.folder.appending(path: series + ".csv")
    var core = try makeCore(try Self.settings())
    core.process(block(try Self.messages(file)), now: moment())
    core.drainWindows(moment(1))
    let seal = try #require(try core.takeSeal())
    let lines = try seal.batches.flatMap { try linesOf($0) }
      .map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)).data }
      .sorted { $0.window.start < $1.window.start }
    let expected = try Self.computed(file)
    #expect(lines.count == expected.count && expected.count > 100)
    for (line, row) in zip(lines, expected) {
      let start = Int64(try #require(row[0])) * 1_000_000_000
      #expect(line.window.start == RFC3339.text(start) && Double(line.window.count) == row[1])
      // A sketch is exact up to many more values than two hours hold.
      #expect(line.window.relativeError == nil)
      let found = [line.sum, line.mean, line.least, line.most, line.deviation, line.median, line.weighted]
      for (value, wanted) in zip(found, row.dropFirst(2)) {
        guard let wanted, let value else {
          #expect(value == wanted)
          continue
        }
        #expect(abs(value - wanted) <= 1e-9 * max(1, abs(wanted)), "\(line.window.start): \(value) and \(wanted)")
      }
    }
  }
}
