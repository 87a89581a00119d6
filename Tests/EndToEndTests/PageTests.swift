import Foundation
import TestSupport
import Testing

/// A real daemon, looked at with a real browser (page.py). The screenshots lie in `.build/page`.
@Suite("The status page")
struct PageTests {
  struct Listening: Decodable {
    var listen: String?
  }

  struct Letter: Decodable {
    var attempts: Int
    var requested: Bool
  }

  /// And its SHA-256, as a file of tokens has it.
  static let token = (
    text: "a-token-for-this-test-alone",
    digest: "04ca3a266b4bc63068ae863a951743e488cc741035277e6aecc0f47a4012eec3"
  )

  @Test("shows every view wide and narrow, light and dark, by keyboard too, and puts a dead letter back")
  func browser() throws {
    var options = House.Options()
    options.listen = "127.0.0.1:0"
    options.status = ", tokens_file: tokens"
    options.pipeline = "sequence: { field: seq }"
    let house = try House("page", options)
    try house.directory.write("operator page-test \(PageTests.token.digest)\n", to: "tokens")
    chmod(house.directory.file("tokens"), 0o600)
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 12, count: 600)
    // What a device would have to send to have the page run it.
    let payload = #"{"device":"<img src=x onerror=alert(1)>","ts":21.}"#
    try house.broker.publish("sensors/<b>press/<script>", [payload, payload, payload])
    try house.wait("the dead letters are there") { try house.status().pipelines[0].deadLetters == 3 }
    try house.settle(received: 603)
    let address = try house.run("status", ["--json", "--socket", house.spool + "/forebay.sock"]).output
    let listen = try #require(JSONDecoder().decode(Listening.self, from: Data(address.utf8)).listen)
    let python = House.root + "/.tools/python"
    let axe = try #require(
      FileManager.default.enumerator(atPath: python + "/lib")?.compactMap { $0 as? String }
        .first { $0.hasSuffix("/axe.min.js") }, "run 'make deps'")
    let looked = try ChildProcess.run(
      python + "/bin/python",
      [
        House.root + "/Tests/EndToEndTests/page.py",
        "--url", "http://\(listen)",
        "--folder", House.root + "/.build/page",
        "--axe", python + "/lib/" + axe,
        "--profile", house.directory.file("browser"),
        "--rule", "json.syntax",
        "--pipeline", "machines",
        "--payload", "<img src=x onerror=alert(1)>",
        "--uplink", "central",
        "--token", PageTests.token.text,
      ])
    #expect(looked.status == 0, "\(looked.output)")
    // It is still no JSON: each was run again, once, and set aside again.
    try house.wait("the dead letters have been run again") {
      let list = try house.run("dead-letters", ["list", "--json", "--spool", house.spool]).output
      let letters = try JSONDecoder().decode([Letter].self, from: Data(list.utf8))
      return letters.count == 3 && letters.allSatisfy { $0.attempts == 1 && !$0.requested }
    }
  }
}
