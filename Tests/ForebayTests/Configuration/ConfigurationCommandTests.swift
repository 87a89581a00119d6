import ArgumentParser
import Pipeline
import Telemetry
import Testing

@testable import forebay

@Suite("Configuration: forebay check")
struct ConfigurationCommandTests {
  private func outcome(_ text: String?) -> CheckOutcome {
    CheckOutcome(path: "/etc/f.yaml", files: Sample.machine(text.map { ["/etc/f.yaml": $0] } ?? [:]))
  }

  @Test("A file without a fault is accepted, and its summary says what would run")
  func accepted() throws {
    let outcome = outcome(Sample.text)
    #expect(outcome.isAccepted(strict: true))
    #expect(outcome.verdict(strict: true) == "/etc/f.yaml: can be run")
    #expect(outcome.report == "")
    #expect(
      outcome.configuration?.summary == """
        gateway   gw-1
        source    floor: mqtts://broker.example:8883, MQTT 5, no user
                  subscribes to sensors/+/climate
        spool     /spool: at most 8 GiB, leaves 1 GiB free
        pipeline  climate: sensors/{device}/climate -> central
                  decode json, time of receipt
        uplink    central: https://ingest.example/v1
        status    /spool/forebay.sock
                  http://127.0.0.1:8420/
        """)
  }

  @Test("The summary says which pipeline sends columns")
  func columns() throws {
    let batch = "batch: { encoding: columns, compression: zstd }"
    let outcome = outcome(Sample.replacing("key: device", "key: device\n    " + batch))
    let configuration = try #require(outcome.configuration, "\(outcome.report)")
    #expect(configuration.pipelines[0].batch.encoding == .columns)
    #expect(configuration.summary.contains("climate -> central as columns\n"))
    #expect(configuration.summaryJSON.contains(#""to":"central","encoding":"columns"}"#))
  }

  @Test("The summary says where the HTTP API listens, or that it does not")
  func api() throws {
    func summary(_ status: String) throws -> (text: String, json: String) {
      let outcome = outcome(Sample.text + "status: { \(status) }\n")
      let configuration = try #require(outcome.configuration, "\(outcome.report)")
      return (configuration.summary, configuration.summaryJSON)
    }
    let elsewhere = try summary("listen: '[::1]:9000'")
    #expect(elsewhere.text.hasSuffix("\n          http://[::1]:9000/"))
    #expect(elsewhere.json.contains(#""status_api":"http://[::1]:9000/""#))
    let off = try summary("listen: off")
    #expect(off.text.hasSuffix("\n          no HTTP API: status.listen is off"))
    #expect(!off.json.contains("status_api"))
  }

  @Test("A warning is an error only when --strict is given")
  func warning() {
    let outcome = outcome(Sample.replacing("key: device", "key: devise"))
    #expect(outcome.isAccepted(strict: false))
    #expect(!outcome.isAccepted(strict: true))
    #expect(outcome.verdict(strict: false) == "/etc/f.yaml: can be run, 1 warning")
    #expect(outcome.verdict(strict: true) == "/etc/f.yaml: is refused, 1 warning")
  }

  @Test("A file with errors is refused and has no summary")
  func errors() {
    let outcome = outcome(Sample.replacing("to: central", "to: centrall").replacing("gw-1", with: "g w"))
    #expect(!outcome.isAccepted(strict: false))
    #expect(outcome.configuration == nil)
    #expect(outcome.verdict(strict: false) == "/etc/f.yaml: is refused, 2 errors")
  }

  @Test("A file that is missing is refused")
  func missing() {
    let outcome = outcome(nil)
    #expect(
      outcome.report == "/etc/f.yaml: error: the configuration file does not exist; name another one with --config")
    #expect(!outcome.isAccepted(strict: false))
  }

  @Test("JSON has every field of a diagnostic, and the summary of an accepted file")
  func json() {
    #expect(
      outcome(Sample.replacing("to: central", "to: \\\"c\"")).json(strict: false) == #"""
        {"file":"/etc/f.yaml","accepted":false,"diagnostics":[{"severity":"error","file":"/etc/f.yaml","line":12,"column":9,"path":"pipelines.climate.to","message":"there is no uplink '\\\"c\"'","hint":"there is: central"}]}
        """#)
    #expect(
      outcome(Sample.text).json(strict: false) == #"""
        {"file":"/etc/f.yaml","accepted":true,"diagnostics":[],"configuration":{"gateway":"gw-1","sources":[{"name":"floor","address":"mqtts://broker.example:8883","version":"5","filters":["sensors/+/climate"]}],"spool":{"directory":"/spool","max_bytes":8589934592,"min_free_bytes":1073741824},"pipelines":[{"name":"climate","from":["sensors/{device}/climate"],"sources":["floor"],"steps":["decode json","time of receipt"],"to":"central"}],"uplinks":[{"name":"central","address":"https://ingest.example/v1"}],"status_socket":"/spool/forebay.sock","status_api":"http://127.0.0.1:8420/"}}
        """#)
  }

  @Test("The command ends with 1 for a file that is refused, and names the default path in its help")
  func exitCode() throws {
    let command = try CheckCommand.parse(["--config", "/nonexistent/forebay.yaml", "--json"])
    #expect(throws: ExitCode(1)) { try command.run() }
    #expect(try CheckCommand.parse([]).config == "/etc/forebay/forebay.yaml")
    #expect(CheckCommand.helpMessage().contains("forebay check --config ./forebay.yaml --strict"))
  }
}
