import ArgumentParser
import Logging
import Pipeline
import Spool
import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite("Commands: schema")
struct SchemaCommandTests {
  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory("schema") }

  private func write(_ version: String, _ properties: String, _ more: String = "", to name: String) throws -> String {
    try folder.write(
      #"{"name":"climate","version":"\#(version)","schema":{"type":"object","properties":{\#(properties)}}\#(more)}"#,
      to: name)
  }

  /// The exit status of a command.
  private func run(_ arguments: String...) throws -> Int32 {
    var command = try Forebay.parseAsRoot(arguments)
    do {
      try command.run()
      return 0
    } catch let code as ExitCode {
      return code.rawValue
    }
  }

  private var registered: [String] {
    (try? ConfigurationFiles.system.names(folder.file("contracts")).get()) ?? []
  }

  private func register(_ path: String) throws -> Int32 {
    try run("schema", "register", path, "--folder", folder.file("contracts"))
  }

  @Test("A contract is registered under its name, once, and never changed")
  func register() throws {
    let file = try write("1.0.0", #""t":{"type":"number"}"#, to: "a.json")
    #expect(try register(file) == 0)
    #expect(registered == ["climate@1.0.0.json"])
    #expect(TemporaryDirectory.read(folder.file("contracts/climate@1.0.0.json")) == TemporaryDirectory.read(file))
    #expect(try register(file) == 0, "a second time changes nothing")
    let other = try write("1.0.0", #""t":{"type":"integer"}"#, to: "b.json")
    #expect(try register(other) == 1)
    #expect(TemporaryDirectory.read(folder.file("contracts/climate@1.0.0.json")) == TemporaryDirectory.read(file))
  }

  @Test("A version that is not above the newest, or breaks what it promises, is not registered")
  func order() throws {
    func attempt(_ version: String, _ properties: String, _ more: String = "") throws -> Int32 {
      try register(try write(version, properties, more, to: "next.json"))
    }
    #expect(try attempt("1.2.0", #""t":{"type":"number"}"#) == 0)
    #expect(try attempt("1.1.9", #""t":{"type":"number"}"#) == 1, "below the newest")
    #expect(try attempt("1.3.0", #""t":{"type":"integer"}"#) == 1, "old readings do not fit")
    #expect(try attempt("1.3.0", #""t":{"type":"integer"}"#, #","compatibility":"forward""#) == 0)
    #expect(try attempt("1.4.0", #""t":{"type":"number"}"#, #","compatibility":"full""#) == 1)
    #expect(try attempt("2.0.0", #""t":{"type":"string"}"#, #","compatibility":"none""#) == 0)
    #expect(try attempt("x", "") == 1, "not valid")
    #expect(registered == ["climate@1.2.0.json", "climate@1.3.0.json", "climate@2.0.0.json"])
    #expect(try register(folder.file("nowhere.json")) == 2)
  }

  @Test("A check compares with the newest version below, or with the file that is named")
  func check() throws {
    let old = try write("1.0.0", #""t":{"type":"number"}"#, to: "old.json")
    let new = try write("1.1.0", #""t":{"type":"integer"}"#, to: "new.json")
    let contracts = folder.file("contracts")
    #expect(try run("schema", "check", new, "--folder", contracts) == 0, "there is nothing to compare it with")
    #expect(try register(old) == 0)
    #expect(try run("schema", "check", new, "--folder", contracts) == 1)
    #expect(try run("schema", "check", new, "--folder", contracts, "--mode", "forward") == 0)
    #expect(try run("schema", "check", old, "--folder", contracts) == 0, "it is not compared with itself")
    #expect(try run("schema", "check", old, new) == 1)
    #expect(try run("schema", "check", new, old, "--json") == 0)
    #expect(try run("schema", "check", old, new, "--mode", "forward") == 0)
    #expect(try run("schema", "check", old, new, "--mode", "full", "--json") == 1)
    #expect(try run("schema", "check", folder.file("nowhere.json")) == 2)
    #expect(try run("schema", "check", try folder.write("{", to: "bad.json"), "--json") == 1)
    // A registered version that is broken is told, not passed over.
    try folder.write("{", to: "contracts/climate@1.0.5.json")
    #expect(try run("schema", "check", new, "--folder", contracts) == 1)
    #expect(try run("schema", "list", "--folder", contracts) == 0)
  }

  @Test("The reasons name the direction, the place and what is wrong")
  func reasons() throws {
    func file(_ version: String, _ type: String) throws -> ContractFile {
      try ContractFile(
        parsing: Array(#"{"name":"c","version":"\#(version)","schema":{"properties":{"t":{"type":"\#(type)"}}}}"#.utf8))
    }
    let succession = try ContractSuccession(try file("1.0.0", "number"), try file("1.1.0", "integer"), mode: .full)
    #expect(
      succession.report == """
          old readings, new version: /properties/t/type: the old schema allows number, the new one does not
        c@1.1.0 is not full compatible with c@1.0.0, for 1 reason
        """)
    #expect(succession.json.contains(#""direction":"backward","kind":"narrowed","location":"/properties/t/type""#))
    let same = try ContractSuccession(try file("1.0.0", "number"), try file("1.1.0", "number"), mode: .backward)
    #expect(same.isCompatible && same.report.hasSuffix("readers of the new version understand readings of the old one"))
  }

  @Test("The folder is the one of the configuration, also when the rest of it is refused, and its pipelines are told")
  func place() throws {
    var place = try ContractPlace.parse(["--config", folder.file("forebay.yaml")])
    #expect(place.contracts().path == folder.file("contracts"))
    try folder.write("contracts: agreed\nnonsense: 1\n", to: "forebay.yaml")
    #expect(place.contracts().path == folder.file("agreed"))
    #expect(place.users() == [:])
    try folder.write(
      """
      gateway: { id: gw }
      sources: { floor: { mqtt: { url: "mqtt://127.0.0.1" } } }
      pipelines:
        one: { from: a, contract: climate@1, to: files }
        two: { from: b, contract: climate@1.0.0, to: files }
        three: { from: c, to: files }
      uplinks: { files: { file: { directory: /tmp/forebay-out } } }
      """, to: "forebay.yaml")
    #expect(try register(try write("1.0.0", "", to: "a.json")) == 0)
    #expect(
      place.users().mapValues { $0 } == [
        ContractID(name: "climate", version: .init(major: 1, minor: 0, patch: 0)): ["one", "two"]
      ])
    place.folder = "/elsewhere"
    #expect(place.contracts().path == "/elsewhere")
  }

  // MARK: Learning

  @Test("A contract is learned from an object, an array or lines, and reads back as one")
  func draft() throws {
    for text in [#"[{"t":1},{"t":2.5},7]"#, "{\"t\":1}\n\n{\"t\":2.5}\r\nnonsense\n"] {
      var draft = ContractDraft()
      draft.add(text: Array(text.utf8), limit: 10)
      #expect(draft.readings == 2 && draft.refusals == 1)
      let id = ContractID(name: "climate", version: .init(major: 1, minor: 2, patch: 3))
      let file = try ContractFile(parsing: Array(draft.file(id).utf8))
      #expect(file.id == id && file.compatibility == .backward)
      #expect(String(decoding: file.schema, as: UTF8.self).contains(#""type": "number""#))
    }
    var one = ContractDraft()
    one.add(text: Array("{\n\"t\": 1 }".utf8), limit: 10)
    #expect(one.readings == 1)
    var few = ContractDraft()
    few.add(text: Array(repeating: "{}", count: 9).joined(separator: "\n").utf8.map { $0 }, limit: 3)
    #expect(few.readings == 3)
  }

  @Test("Reasons why lines are refused are counted, and not without end")
  func refusals() {
    var draft = ContractDraft()
    for number in 0..<1_000 { draft.refuse("reason \(number)") }
    for _ in 0..<3 { draft.refuse("reason 7") }
    #expect(draft.refusals == 1_003 && draft.refused.count <= 101)
    #expect(draft.commonestRefusal == "other reasons")
  }

  @Test("Times are RFC 3339 or ages")
  func times() {
    #expect(LogTime("1970-01-01T00:00:01Z") == .moment(1_000_000_000))
    #expect(LogTime("2h") == .age(7_200_000_000_000))
    #expect(LogTime("2h")?.wall(now: 10_000_000_000_000) == 2_800_000_000_000)
    #expect(LogTime("yesterday") == nil && LogTime("") == nil && LogTime("12") == nil)
  }

  @Test("From the log, messages are decoded as the pipeline decodes them")
  func log() throws {
    try folder.write(
      """
      gateway: { id: gw }
      sources: { floor: { mqtt: { url: "mqtt://127.0.0.1" } } }
      spool: { directory: spool, min_free: 0 }
      pipelines:
        meters: { from: ["m/{device}"], decode: { format: csv, columns: [energy, unit] }, key: device, to: files }
      uplinks: { files: { file: { directory: out } } }
      """, to: "forebay.yaml")
    var settings = SpoolSettings(directory: folder.file("spool"))
    settings.minimumFree = 0
    let spool = try Spool.open(
      settings, machine: .current(), now: moment(0), random: { .random(in: 0 ... .max) })
    var group = MessageGroup(boot: BootID(high: 1, low: 2))
    for (second, text) in [(1, "1,kWh"), (2, "2.5,kWh"), (3, "x,kWh"), (4, "\u{0}")] {
      group.append(
        Message(
          origin: Origin(source: "floor", topic: second == 4 ? "other" : "m/1"), payload: Array(text.utf8),
          qos: .atLeastOnce, packetID: 1, received: moment(second)))
    }
    try spool.log.append(group)
    spool.close()
    let config = folder.file("forebay.yaml")
    #expect(try run("schema", "infer", "--pipeline", "meters", "--config", config, "--json") == 0)
    #expect(
      try run("schema", "infer", "--pipeline", "meters", "--config", config, "--from", "1970-01-01T00:01:00Z") == 1,
      "nothing was received then")
    #expect(try run("schema", "infer", "--pipeline", "meter", "--config", config) == 2)

    let configuration = try Configuration.load(path: config)
    var preview = ReadingPreview(settings: configuration.pipelines[0])
    var draft = ContractDraft()
    let reader = try LogReader(path: Spool.logPath(folder.file("spool")))
    guard case .block(let block) = try reader.next(from: try reader.start(), interested: { _ in true }) else {
      Issue.record("there is no block")
      return
    }
    let outcomes = block.group.entries.indices.map { index in
      preview.forEachReading(of: block.record(at: index).message) { draft.add($0, at: $1, in: $2) }
    }
    #expect(outcomes == [.readings(1), .readings(1), .readings(1), .unmatched])
    let text = draft.file(ContractID(name: "m", version: .init(major: 1, minor: 0, patch: 0)))
    #expect(text.contains(#""type": ["number", "string"]"#))
  }

  @Test("What a pipeline masks gets into no contract that is learned from its messages")
  func masked() throws {
    func learned(_ stages: String) throws -> String {
      let configuration = try Configuration.decode(
        Configuration.Origin(
          path: "/etc/forebay.yaml",
          bytes: Array(
            """
            gateway: { id: g }
            sources: { floor: { mqtt: { url: "mqtt://127.0.0.1" } } }
            pipelines: { p: { from: ["#"], \(stages), to: c } }
            uplinks: { c: { http: { url: "http://127.0.0.1/" } } }
            """.utf8)), shownAs: "forebay.yaml", files: .system, toleratesSurroundings: true)
      var draft = ContractDraft(readingsOf: configuration.pipelines[0])
      let line = #"{"card":"ANNA","room":"hall"}"# + "\n"
      draft.add(text: Array(String(repeating: line, count: 20).utf8), limit: 100)
      return draft.file(ContractID(name: "p", version: .init(major: 1, minor: 0, patch: 0)))
    }
    #expect(try learned("decode: json").contains("ANNA"))
    let masked = try learned("mask: { card: hide }")
    #expect(!masked.contains("ANNA") && masked.contains("hall"))
    // Which field the mask is about is not known behind a select.
    #expect(!(try learned("select: [card AS who], mask: { who: hide }").contains("ANNA")))
  }

  private func moment(_ seconds: Int) -> Moment {
    let time = Int64(seconds) * 1_000_000_000
    return Moment(boot: BootID(high: 1, low: 2), monotonic: time, wall: time, quality: .synchronised)
  }
}
