internal import Pipeline
internal import Status

/// Alarms and objectives in the terminal.
extension StatusReport.Alarm {
  /// `PAGE uplink, for 3 min: ...`, and where to read on.
  var forPeople: String {
    let age = since.flatMap(StatusReport.Alarm.age).map { ", for \(Output.duration($0))" } ?? ""
    let head = severity == .page ? "PAGE" : severity == .ticket ? "TICKET" : "ALARM"
    return "\(head) \(kind)\(age): \(text)" + (runbook.map { "\n  see \($0)" } ?? "")
  }

  private static func age(_ since: String) -> Int64? {
    guard let wall = try? Array(since.utf8).withUnsafeBytes({ try RFC3339.nanoseconds($0) }) else { return nil }
    return max(0, SystemClock.wall() - wall)
  }
}

extension StatusReport {
  /// A line for each objective that has been measured; nil where none is kept.
  var objectivesText: String? {
    guard let objectives, !objectives.isEmpty else { return nil }
    let measured = objectives.filter { $0.measured != nil }
    guard !measured.isEmpty else { return "Objectives: nothing has been measured yet." }
    func rate(_ value: Double?) -> String { value.map { Fixed.decimal($0, places: 1) } ?? "-" }
    return "Objectives:\n"
      + Output.table(
        ["OBJECTIVE", "STATE", "TARGET", "MEASURED", "BUDGET LEFT", "BURN RATE 1H", "6H"],
        measured.map {
          [
            $0.name, $0.state.rawValue, Fixed.percent($0.target), $0.measured.map(Fixed.percent) ?? "-",
            Fixed.percent(max(0, $0.budgetRemaining)), rate($0.burnRate1h), rate($0.burnRate6h),
          ]
        })
  }
}
