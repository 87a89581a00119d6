import Foundation
import TestSupport
import Testing

/// Markup in everything that devices choose, seen in a real browser (hostile_page.py).
@Suite("The status page of devices that mean harm")
struct HostilePageTests {
  /// What a device calls itself: markup, handlers, ends of attributes and of scripts, templates.
  static let names = [
    #"<img src=x onerror=alert(1)>"#, #""><script>alert(1)"#, #"'-alert(1)-'"#, #"<svg onload=alert(1)>"#,
    #"javascript:alert(1)"#, #"<iframe srcdoc='<b>x'>"#, #"${alert(1)}{{7*7}}"#,
    #"<x-mark autofocus onfocus=alert(1)>"#, "&lt;b&gt;not bold&lt;",
  ]

  @Test("names of devices, topics and payloads stand there as they were written, and no script runs")
  func browser() throws {
    var options = House.Options()
    options.listen = "127.0.0.1:0"
    options.pipeline = "sequence: { field: seq }\n    drift: true"
    let house = try House("hostile-page", options)
    try house.startUpstream()
    try house.startDaemon()
    // Without slashes and wildcards: each is one level of a topic.
    let names = HostilePageTests.names
    for (number, name) in names.enumerated() {
      let good = #"{"device":"x","seq":1,"ts":1795231080000,"<b>field\#(number)</b>":1}"#
      let bad = #"{"device":"<img src=x onerror=alert(3)>","seq":\#(number),"ts":21.}"#
      try house.broker.publish("sensors/\(name)/<script>alert(4)", [good, bad])
    }
    try house.wait("the dead letters are there") { try house.status().pipelines[0].deadLetters == names.count }
    try house.settle(received: 2 * names.count)
    let listen = try #require(try house.status().listen)
    let visible: [String: [String]] = [
      "on-call": [#"<img src=x onerror=alert(3)>"#, "<script>alert(4)"],
      "debug": names,
    ]
    let texts = String(decoding: try JSONEncoder().encode(visible), as: UTF8.self)
    let looked = try ChildProcess.run(
      House.root + "/.tools/python/bin/python",
      [
        House.root + "/Tests/EndToEndTests/hostile_page.py", "--url", "http://\(listen)", "--folder",
        House.root + "/.build/page", "--profile", house.directory.file("browser"), "--texts", texts, "--rule",
        "json.syntax", "--pipeline", "machines",
      ])
    #expect(looked.status == 0, "\(looked.output)")
  }
}
