import Glibc
import TestSupport
import Testing

@testable import forebay

@Suite struct SeriesCSVTests {
  private func read(_ text: String) throws -> [String] {
    let csv = try SeriesCSV(Array(text.utf8), path: "data/pump.csv")
    return (0..<csv.count).map { "\(csv.times[$0]) \(String(decoding: csv.value($0), as: UTF8.self))" }
  }

  @Test("lines may end either way, fields may be quoted, columns may stand in any order")
  func forms() throws {
    #expect(
      try read("timestamp,value\r\n1970-01-01 00:00:01,5\r\n\r\n1970-01-01T00:00:02.5Z,-0.25e3")
        == ["1000 5", "2500 -0.25e3"])
    #expect(
      try read("\u{FEFF}note,value,timestamp\n\"a \"\"b\"\",\nc\",1,\"1970-01-02 00:00:00+01:00\"\n")
        == ["82800000 1"])
    #expect(try read("value,timestamp,note\n.5,2000-02-29 00:00:00,\n") == ["951782400000 0.5"])
  }

  @Test(
    "what cannot be read is refused with file and line",
    arguments: [
      ("", 1, "is empty"), ("a,b\n", 1, "names no columns"), ("timestamp,value\n", 1, "has no rows"),
      ("timestamp,value\n2013-12-02 21:15:00,1\n\n2013-12-02 21:15:00\n", 4, "has 1 fields"),
      ("timestamp,value\n2013-13-02 21:15:00,1\n", 2, "is no timestamp"),
      ("timestamp,value\n2013-02-29 21:15:00,1\n", 2, "is no timestamp"),
      ("timestamp,value\n2013-12-02 21:15:00,nan\n", 2, "is no number"),
      ("timestamp,value\n2013-12-02 21:15:00,1e999\n", 2, "is no number"),
      ("timestamp,value\n2013-12-02 21:15:00,\n", 2, "is no number"),
      ("timestamp,value\n\"2013-12-02\n21:15:00,1\n", 2, "is not closed"),
      ("timestamp,value\n\"2013-12-02 21:15:00\"x,1\n", 2, "is followed by"),
    ])
  func errors(text: String, line: Int, reason: String) throws {
    let error = #expect(throws: SeriesCSVError.self) { _ = try read(text) }
    #expect(error?.line == line && error?.path == "data/pump.csv")
    #expect(error?.reason.contains(reason) == true, "\(error?.reason ?? "")")
  }

  /// `../shared/data/nab` from the root of the repository, or what FOREBAY_DATA names.
  static let folder: String = {
    if let path = getenv("FOREBAY_DATA") { return String(cString: path) }
    let root = #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
    for path in ["../shared/data/nab", "/\(root)/../shared/data/nab"] where access(path, R_OK) == 0 {
      return path
    }
    return "../shared/data/nab"
  }()

  @Test(
    "the recorded machine series are read whole",
    .enabled(
      if: access(folder, R_OK) == 0,
      "../shared/data/nab is missing beside the repository and FOREBAY_DATA names no folder"),
    arguments: [
      ("ambient_temperature_system_failure", 7267), ("cpu_utilization_asg_misconfiguration", 18050),
      ("ec2_request_latency_system_failure", 4032), ("machine_temperature_system_failure", 22695),
      ("nyc_taxi", 10320), ("rogue_agent_key_hold", 1882), ("rogue_agent_key_updown", 5315),
    ])
  func recorded(name: String, rows: Int) throws {
    let path = "\(Self.folder)/\(name).csv"
    let bytes = try ConfigurationFiles.system.read(path, 1 << 26).get().bytes
    let csv = try SeriesCSV(bytes, path: path)
    #expect(csv.name == name && csv.count == rows)
    // The one jump backwards is the machine's own; it is played as it was recorded.
    let jumps = zip(csv.times, csv.times.dropFirst()).count { $0 > $1 }
    #expect(jumps == (name == "machine_temperature_system_failure" ? 1 : 0))
  }
}
