import Foundation
import TestSupport
import Testing

/// A real daemon, looked at with a real browser (page.py). The screenshots lie in `.build/page`.
@Suite("The status page")
struct PageTests {
  struct Listening: Decodable {
    var listen: String?
  }

  @Test("shows every view wide and narrow, light and dark, by keyboard too, and puts a dead letter back")
  func browser() throws {
    var options = House.Options()
    options.listen = "127.0.0.1:0"
    options.pipeline = "sequence: { field: seq }"
    let house = try House("page", options)
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 12, count: 600)
    // What a device would have to send to have the page run it.
    let payload = #"{"device":"<img src=x onerror=alert(1)>","ts":21.}"#
    try house.broker.publish("sensors/<b>press</b>/<script>", [payload, payload, payload])
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
        House.root + "/Tests/EndToEndTests/page.py", "--url", "http://\(listen)", "--folder", House.root + "/.build/page",
        "--axe", python + "/lib/" + axe, "--profile", house.directory.file("browser"), "--rule", "json.syntax",
        "--pipeline", "machines", "--payload", "<img src=x onerror=alert(1)>",
      ])
    #expect(looked.status == 0, "\(looked.output)")
  }
}
