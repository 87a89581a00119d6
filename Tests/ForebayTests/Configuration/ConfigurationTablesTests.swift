import Pipeline
import Telemetry
import Testing

@testable import forebay

@Suite("Configuration: reference tables")
struct ConfigurationTablesTests {
  private static let csv = "device;site;floor\nt-1;North;3\nt-2;South;\n"

  private static func sample(_ entry: String) -> String {
    Sample.replacing("    to: central", "    enrich: \(entry)\n    to: central")
  }

  private static func machine(_ csv: String = Self.csv) -> ConfigurationFiles {
    Sample.machine(["/etc/devices.csv": csv, "/etc/empty.csv": "", "/etc/twice.csv": "device\na\na\n"])
  }

  private static let entry =
    #"{ table: devices.csv, key: device, delimiter: ";", columns: { site: text, floor: { as: level, type: number } } }"#

  private static func decode(_ entry: String, csv: String = Self.csv) throws -> Configuration {
    try Sample.decode(sample(entry), files: machine(csv))
  }

  @Test("a table is read with its settings, and is kept with the configuration")
  func table() throws {
    let configuration = try Self.decode(Self.entry)
    let enrichment = try #require(configuration.pipelines[0].enrich.first)
    #expect(enrichment.table.count == 2 && enrichment.by == nil)
    #expect(configuration.origin.attachments.map(\.path) == ["/etc/devices.csv"])
    #expect(configuration.summary.contains("enrich from 2 rows"))
    let by = try Self.decode(#"{ table: devices.csv, key: device, by: info.id, delimiter: ";" }"#)
    #expect(by.pipelines[0].enrich[0].by == (try FieldPath(parsing: "info.id")))
  }

  @Test("another file, or another setting, is another version of the pipeline")
  func version() throws {
    func version(_ entry: String, csv: String = Self.csv) throws -> String {
      pipelineVersion(try Self.decode(entry, csv: csv).pipelines[0])
    }
    let versions = [
      try version(Self.entry), try version(Self.entry, csv: Self.csv + "t-3;West;1\n"),
      try version(Self.entry.replacing("level", with: "floor")),
      try version("[\(Self.entry)]"),
      try version(#"{ table: devices.csv, key: device, delimiter: ";" }"#),
      try version(#"{ table: devices.csv, key: device, delimiter: ";", object: where }"#),
      try version(#"{ table: devices.csv, key: device, delimiter: ";", prefix: where }"#),
      try version(#"{ table: devices.csv, key: site, delimiter: ";" }"#),
    ]
    #expect(Set(versions).count == versions.count - 1)
    #expect(versions[0] == versions[3])
  }

  @Test(
    "a fault is told with its place and a way out",
    arguments: [
      ("{ table: none.csv, key: device }", "12:22", "/etc/none.csv does not exist"),
      ("{ table: empty.csv, key: device }", "12:22", "the file is empty"),
      ("{ table: devices.csv, key: device }", "12:22", "there is no column device"),
      ("{ table: twice.csv, key: device }", "12:22", "line 3: the key, device, is the same as on line 2"),
      (#"{ table: devices.csv, key: device, delimiter: ";", columns: { site: number } }"#, "12:22", "is not a number"),
      (
        #"{ table: devices.csv, key: device, delimiter: ";", columns: [sit] }"#, "12:22",
        "there are: device, site, floor"
      ),
      ("{ table: devices.csv, key: site, query: SELECT 1 }", "12:22", "leave 'query' out"),
      ("{ table: devices.csv }", "12:5", "the key 'key' is missing"),
      ("{ key: device }", "12:5", "the key 'table' is missing"),
      ("{ table: devices.csv, key: device, prefix: a, object: b }", "12:59", "leave 'prefix' out"),
      ("{ table: devices.csv, key: device, columns: { site: txt } }", "did you mean 'text'?", ""),
      ("{ tabel: devices.csv, key: device }", "did you mean 'table'?", ""),
    ])
  func faults(_ entry: String, _ place: String, _ reason: String) {
    let told = Sample.diagnostics(Self.sample(entry), files: Self.machine()).map { fault in
      "\(fault.place.map { "\($0.line):\($0.column)" } ?? "") \(fault.path): \(fault.message); \(fault.hint ?? "")"
    }.joined(separator: "\n")
    #expect(told.contains(place) && (reason.isEmpty || told.contains(reason)), "\(told)")
  }

  @Test("without a key something must say what is looked up")
  func noKey() {
    let text = Self.sample(Self.entry).replacing("    key: device\n", with: "")
    #expect(Sample.diagnostics(text, files: Self.machine()).contains { $0.hint?.contains("add 'by'") == true })
  }

  @Test("a changed table is taken over, and nothing else of the configuration; a broken one changes nothing")
  func reload() throws {
    let configuration = try Self.decode(Self.entry)
    #expect(configuration.withTables(Self.machine()).next == nil)
    let changed = Self.csv + "t-3;West;1\n"
    let (next, faults) = configuration.withTables(Self.machine(changed))
    let taken = try #require(next)
    #expect(faults == [] && taken.pipelines[0].enrich[0].table.count == 3)
    // As if it had been read like this in the first place.
    let fresh = try Self.decode(Self.entry, csv: changed)
    #expect(taken.pipelines == fresh.pipelines && taken.origin == fresh.origin && taken.attached == fresh.attached)
    for broken in [Self.machine(Self.csv + "t-1;again;1\n"), Sample.machine()] {
      let (none, faults) = taken.withTables(broken)
      #expect(none == nil && faults.count == 1)
      #expect(faults[0].hasPrefix("the table /etc/devices.csv "), "\(faults)")
    }
  }

  @Test("a file is read again when it has changed and is no longer being written")
  func watch() {
    var watch = TableWatch()
    var files: [String: TableWatch.Mark] = [:]
    func look(_ paths: Set<String> = ["a", "b"]) -> Bool { watch.look(at: paths) { files[$0] } }
    files["a"] = .init(device: 1, inode: 1, size: 10, modified: 1)
    // Nobody knows whether it is as it was when it was taken.
    #expect([look(), look(), look()] == [false, true, false])
    files["a"]?.size = 11
    #expect(!look())
    files["a"]?.size = 12
    #expect([look(), look(), look()] == [false, true, false])
    files["b"] = files["a"]
    #expect([look(), look(), look()] == [false, true, false])
    files["b"] = nil
    #expect([look(), look(), look()] == [false, true, false])
    files["a"]?.modified = 2
    #expect([look([]), look([]), look(["a"]), look(["a"])] == [false, false, false, true])
  }
}
