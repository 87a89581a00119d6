import Foundation
import Glibc
import TestSupport
import Testing

@Suite("The daemon and its service manager")
struct ServiceTests {
  @Test("is told when the daemon is ready, alive, reloading and stopping (sd_notify)")
  func notifications() throws {
    let house = try House("notify")
    let manager = try NotifySocket(house.directory.file("notify"))
    try house.startUpstream()
    try house.startDaemon(environment: ["NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"])
    try house.wait("it is ready") { manager.count("READY=1") == 1 }
    try house.wait("it gives signs of life") { manager.count("WATCHDOG=1") >= 5 }
    house.daemon?.signal(SIGHUP)
    try house.wait("it says that it reloads") { manager.count("RELOADING=1") == 1 }
    #expect(manager.count("MONOTONIC_USEC") == 1)
    try house.wait("it is ready again") { manager.count("READY=1") == 2 }
    #expect(house.stopDaemon() == 0)
    #expect(manager.count("STOPPING=1") == 1)
    #expect(manager.count("EXTEND_TIMEOUT_USEC=35000000") == 1, "the grace of 20 s, and 15 s to close")
  }

  @Test("a configuration that it cannot start on gives way to the last one that ran, in the same process")
  func unstartable() throws {
    let house = try House("unstartable")
    let manager = try NotifySocket(house.directory.file("notify"))
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 5, count: 500)
    try house.settle(received: 500)
    #expect(house.stopDaemon() == 0)
    // Nothing is wrong with the edit to look at; but another daemon has that spool.
    let other = house.directory.file("other")
    try #require(mkdir(other, 0o700) == 0)
    let lock = open(other + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0)
    let good = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try good.replacingOccurrences(of: "directory: spool", with: "directory: other")
      .write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    try house.startDaemon(environment: ["NOTIFY_SOCKET": manager.path])
    #expect(
      try house.status().alarms.contains {
        $0.kind == "configuration" && $0.text.contains("another forebay runs on this spool")
      })
    #expect(manager.count("READY=1") == 1)
    try house.publish(devices: 5, count: 500, firstSeq: 101)
    try house.settle(received: 1_000)
    #expect(house.stopDaemon() == 0)
    try house.expectDelivered(count: 1_000)
    // The next start tries the file again.
    close(lock)
    try house.launchDaemon()
    try house.wait("it runs on the other spool") {
      try house.run("status", ["--json", "--socket", other + "/forebay.sock"]).output.contains("\"gateway\"")
    }
    #expect(house.stopDaemon() == 0)
  }

  @Test("a spool of a newer version is refused in words, with a status of its own, and no older configuration is tried")
  func newerSpool() throws {
    let house = try House("newer")
    try house.startDaemon()
    #expect(house.stopDaemon() == 0)
    let log = house.directory.file("daemon.log")
    func write(_ format: Int, into path: String) throws {
      let made = try ChildProcess.run(
        "python3",
        ["-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA user_version = \(format)')", path])
      try #require(made.status == 0, "\(made.output)")
    }
    try write(2, into: house.spool + "/state.db")
    // Another configuration is kept, but of the same spool: it would not help.
    var options = House.Options()
    options.pipeline = "decode: json"
    try house.configure(options)
    #expect(try house.launchDaemon().wait(seconds: 40) == 65)
    let told = TemporaryDirectory.read(log)
    #expect(told.contains("state.db: it is of format 2, which a newer version of forebay wrote"), "\(told.suffix(900))")
    #expect(told.contains("this version reads format 1 only") && told.contains("install the version that wrote it"))
    #expect(!told.contains("the last one that ran takes its place"))
    // A command says the same.
    let audit = try house.run("audit", ["--spool", house.spool])
    #expect(audit.status == 2)
    // With the other spool of the configuration that ran before, the box comes back.
    try write(1, into: house.spool + "/state.db")
    let other = house.directory.file("other")
    try #require(try ChildProcess.run("cp", ["-r", house.spool, other]).status == 0)
    try write(2, into: other + "/log.db")
    let good = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try good.replacingOccurrences(of: "directory: spool", with: "directory: other")
      .write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    try house.startDaemon()
    #expect(
      try house.status().alarms.contains { $0.kind == "configuration" && $0.text.contains("log.db: it is of format 2") }
    )
    #expect(house.stopDaemon() == 0)
  }

  @Test("ends on the loss of its grace period with what is left kept for the next start")
  func shortGrace() throws {
    var options = House.Options()
    options.extra = ""
    let house = try House("grace", options)
    let text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try text.replacingOccurrences(of: "grace: 20 s", with: "grace: 1 s")
      .write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    // The upstream never answers, so draining cannot end by itself.
    try house.startUpstream(fail: ["silent"])
    try house.startDaemon()
    try house.publish(devices: 5, count: 500)
    try house.wait("it is taken in") { try house.status().spool.received == 500 }
    let begun = monotonicSeconds()
    #expect(house.stopDaemon() == 0)
    #expect(monotonicSeconds() - begun < 15, "far below the 20 s that it would otherwise wait")
    try house.expectBalance()
    try house.setFaults([])
    try house.startDaemon()
    try house.settle(received: 500)
    try house.expectDelivered(count: 500)
    try house.expectProof()
  }

  @Test("shows who it is when two daemons meet, and a copied state folder begins chains of its own")
  func clonedState() throws {
    let house = try House("clone")
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 5, count: 500)
    try house.settle(received: 500)
    // Some are taken in and sealed and not delivered when the card is taken out.
    try house.setFaults(["503"])
    try house.publish(devices: 5, count: 500, firstSeq: 101)
    try house.wait("they are sealed") { try house.status().pipelines[0].outboxReadings == 500 }
    house.killDaemon()
    try house.setFaults([])
    let other = try house.directory.write("0123456789abcdef0123456789abcdef\n", to: "machine-id")
    try house.startDaemon(environment: ["FOREBAY_MACHINE_ID_FILE": other])
    try house.publish(devices: 5, count: 500, firstSeq: 201)
    try house.wait("all of it is at the upstream") { try house.delivered().count >= 1_500 }
    try house.expectDelivered(count: 1_500)
    struct Report: Decodable {
      struct Chain: Decodable { var chain: String }
      var chains: [Chain]
    }
    let verdict = try house.run("receive", ["--store", house.store, "--verify", "--json"])
    let report = try JSONDecoder().decode(Report.self, from: Data(verdict.output.utf8))
    #expect(Set(report.chains.map(\.chain)).count == 2, "\(verdict.output)")
    try house.expectProof()
  }
}
