internal import Pipeline
internal import Status

/// Alarms in the terminal.
extension StatusReport.Alarm {
  /// `ALARM uplink: ... (page, for 3 min)`, and where to read on.
  var forPeople: String {
    let age = since.flatMap(StatusReport.Alarm.age).map { "for \(Output.duration($0))" }
    let details = [severity?.rawValue, age].compactMap { $0 }.joined(separator: ", ")
    return "ALARM \(kind): \(text)" + (details.isEmpty ? "" : " (\(details))")
      + (runbook.map { "\n  see \($0)" } ?? "")
  }

  private static func age(_ since: String) -> Int64? {
    guard let wall = try? Array(since.utf8).withUnsafeBytes({ try RFC3339.nanoseconds($0) }) else { return nil }
    return max(0, SystemClock.wall() - wall)
  }
}
