import Pipeline
import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite("Configuration: contracts and drift")
struct ConfigurationContractTests {
  static func contract(_ name: String, _ version: String, _ more: String = "") -> String {
    #"{"name":"\#(name)","version":"\#(version)","schema":{"type":"object"}\#(more)}"#
  }

  private static let contracts = Dictionary(
    uniqueKeysWithValues: ["climate@1.0.0", "climate@1.2.0", "climate@1.10.0", "climate@2.0.0", "flow@1.0.0"].map {
      id in
      let parts = id.split(separator: "@").map(String.init)
      return ("/etc/contracts/\(id).json", contract(parts[0], parts[1]))
    })

  private static func text(_ line: String, top: String = "") -> String {
    Sample.replacing("    to: central", "    \(line)\n    to: central") + top
  }

  @Test(
    "A reference means the newest version of its kind",
    arguments: [
      ("climate@1", "climate@1.10.0"), ("climate@1.2", "climate@1.2.0"), ("climate@1.0.0", "climate@1.0.0"),
      ("climate@2", "climate@2.0.0"),
    ])
  func picked(_ test: (reference: String, id: String)) throws {
    let configuration = try Sample.decode(
      Self.text("contract: \(test.reference)"), files: Sample.machine(Self.contracts))
    #expect(configuration.pipelines[0].contract?.description == test.id)
    #expect(configuration.origin.attachments.map(\.path) == ["/etc/contracts/\(test.id).json"])
    #expect(
      configuration.attached.values.map { Digest(of: $0.revealed) } == [configuration.pipelines[0].contract?.digest])
    #expect(configuration.summary.contains(", contract \(test.id)\n"))
    #expect(configuration.summaryJSON.contains(#""contract":"\#(test.id)""#))
  }

  @Test("The folder is the one that the configuration names, from its own folder")
  func folder() throws {
    let files = Sample.machine(["/etc/agreed/climate@3.0.0.json": Self.contract("climate", "3.0.0")])
    let text = Self.text("contract: climate@3", top: "contracts: agreed\n")
    #expect(try Sample.decode(text, files: files).pipelines[0].contract?.description == "climate@3.0.0")
  }

  @Test("Without a pipeline that has a contract, no folder is looked for")
  func none() throws {
    let configuration = try Sample.decode(Sample.text)
    #expect(configuration.origin.attachments == [] && configuration.attached == [:])
    #expect(configuration.pipelines[0].contract == nil && configuration.pipelines[0].drift == nil)
  }

  @Test("A contract that cannot be had is told, with what there is")
  func missing() {
    let machine = Sample.machine(Self.contracts)
    func check(_ reference: String, _ says: String, files: ConfigurationFiles) {
      let found = Sample.diagnostics(Self.text("contract: \(reference)"), files: files)
      #expect(found.count == 1)
      let summary = found.first?.summary ?? ""
      #expect(summary.hasPrefix("forebay.yaml:12:15: error: pipelines.climate.contract: "), "\(summary)")
      #expect(summary.contains(says), "\(summary)")
    }
    check("climate", "names no contract, expected a name and a version", files: machine)
    check("climate", "; did you mean 'climate@2'?", files: machine)
    check("climate@1.2.3.4", "names no contract", files: machine)
    check(
      "climate@3", "there is no contract 'climate@3' in /etc/contracts; there is: climate@1.0.0, climate@1.2.0, ",
      files: machine)
    check("climat@1", "; did you mean 'climate@2'?", files: machine)
    check("weather@1", "there is: climate@1.0.0, ", files: machine)
    check("climate@1", "the folder of contracts, /etc/contracts, does not exist; make it", files: Sample.machine())
    check(
      "climate@1", "there is none; forebay schema register puts one there",
      files: Sample.machine(folders: ["/etc/contracts"]))
  }

  @Test("A contract file that is wrong is refused with the place in it, and no older one is taken instead")
  func wrong() {
    var contracts = Self.contracts
    func says(_ text: String?) -> String {
      contracts["/etc/contracts/climate@1.10.0.json"] = text
      let found = Sample.diagnostics(Self.text("contract: climate@1"), files: Sample.machine(contracts))
      return found.map(\.summary).joined(separator: "\n")
    }
    #expect(says("{").contains("climate@1.10.0.json is refused: 1:2: this is not JSON: the text ends too early"))
    #expect(says("{}").contains("1:1: the member 'name' is missing (and 2 more); forebay schema check /etc/"))
    #expect(says(Self.contract("climate", "1.9.0")).contains("says that it is climate@1.9.0; a file is named as"))
    #expect(says(String(repeating: " ", count: 1 << 20) + "{}").contains("has more than 1 MiB"))
  }

  @Test("Who only looks does without the contract; what runs does not")
  func tolerance() throws {
    let text = Self.text("contract: climate@1")
    let origin = Configuration.Origin(path: "/etc/forebay.yaml", bytes: Array(text.utf8))
    #expect(throws: ConfigurationErrors.self) {
      try Configuration.decode(origin, shownAs: "f", files: Sample.machine(), toleratesSurroundings: true)
    }
    let looked = try Configuration.decode(
      origin, shownAs: "f", files: Sample.machine(), toleratesSurroundings: true, toleratesAttachments: true)
    #expect(looked.pipelines[0].contract == nil && looked.warnings.count == 1)
  }

  @Test("Drift is told on request, with bounds of its own where they are named")
  func drift() throws {
    func drift(_ text: String) throws -> DriftSettings? {
      try Sample.decode(Self.text("drift: \(text)")).pipelines[0].drift
    }
    #expect(try drift("true") == DriftSettings())
    #expect(try drift("false") == nil)
    #expect(try drift("{}") == DriftSettings())
    var settings = DriftSettings()
    settings.vanishedAfter = 20
    settings.limit = 500
    #expect(try drift("{ vanished_after: 20, max_devices: 500 }") == settings)
    #expect(Sample.places(Self.text("drift: maybe")) == ["12:12 error pipelines.climate.drift"])
    #expect(
      Sample.places(Self.text("drift: { vanished_after: 1, max_device: 3 }")) == [
        "12:30 error pipelines.climate.drift.vanished_after", "12:33 error pipelines.climate.drift.max_device",
      ])
  }

  // MARK: Kept

  /// A folder with a configuration, its contracts and a spool.
  private struct Box {
    let folder: TemporaryDirectory
    let kept: LastGoodConfiguration

    init() throws {
      folder = try TemporaryDirectory("contracts")
      kept = LastGoodConfiguration(stateDirectory: folder.path)
      try ConfigurationContractTests.shell("mkdir \(folder.path)/etc \(folder.path)/etc/contracts \(folder.path)/spool")
      try folder.write(
        """
        gateway: { id: gw }
        sources: { floor: { mqtt: { url: "mqtt://127.0.0.1" } } }
        spool: { directory: ../spool, min_free: 0 }
        pipelines: { all: { from: "#", contract: climate@1, to: files } }
        uplinks: { files: { file: { directory: ../out } } }
        """, to: "etc/forebay.yaml")
      try folder.write(ConfigurationContractTests.contract("climate", "1.0.0"), to: "etc/contracts/climate@1.0.0.json")
    }

    var path: String { folder.file("etc/forebay.yaml") }
    var spool: String { folder.file("spool") }
    func boot() throws -> LastGoodConfiguration.Boot { try kept.load(path: path) }
  }

  private static func shell(_ command: String) throws {
    let child = try ChildProcess("/bin/sh", ["-c", command])
    #expect(child.wait() == 0)
  }

  @Test("Whatever becomes of the contracts, the box starts on those that ran")
  func alwaysBoots() throws {
    let box = try Box()
    let first = try box.boot()
    #expect(first.alarm == nil)
    try box.kept.keep(first.configuration, in: box.spool)
    let version = pipelineVersion(first.configuration.pipelines[0])
    // A newer one that is broken, and the old one edited.
    for file in ["climate@1.1.0.json", "climate@1.0.0.json"] {
      try box.folder.write("{", to: "etc/contracts/\(file)")
      let boot = try box.boot()
      #expect(boot.alarm?.contains("is refused: 1:2: this is not JSON") == true)
      #expect(pipelineVersion(boot.configuration.pipelines[0]) == version)
      #expect(boot.configuration.origin == first.configuration.origin)
    }
    try Self.shell("rm -r \(box.folder.file("etc"))")
    let boot = try box.boot()
    #expect(boot.alarm != nil && pipelineVersion(boot.configuration.pipelines[0]) == version)
  }

  @Test("A pipeline that drains goes on under its own contract, whatever has become of the file")
  func draining() throws {
    let box = try Box()
    let configuration = try box.boot().configuration
    try AttachmentStore(spool: box.spool).keep(configuration.attached)
    let plan = PipelineWorker.Plan(configuration)
    try Self.shell("rm -r \(box.folder.file("etc"))")
    let read = PipelineWorker.assignments(keptIn: box.spool)
    #expect(read("all", plan.configuration)?.version == plan.assignments[0].version)
    #expect(read("other", plan.configuration) == nil)
    // With the copy lost as well there is no telling what it expected.
    try Self.shell("rm -r \(box.spool)/attachments")
    #expect(read("all", plan.configuration) == nil)
  }
}
