import Foundation
import TestSupport
import Testing

/// Taking in stops for want of room or for a failing disk, and goes on, again and again, while devices
/// publish. Nothing that the broker got a PUBACK for may be missing at the upstream.
@Suite("Parked and resumed")
struct ParkingTests {
  /// Rounds of faults; `make test-park` asks for 50.
  static let rounds = ProcessInfo.processInfo.environment["FOREBAY_PARK_ROUNDS"].flatMap { Int($0) } ?? 7

  /// A way in which the disk fails.
  enum Trouble: CaseIterable {
    case minimumReached, fullAtWrites, errorAtSyncOfLog, errorAtWrites, fullNowAndThen, errorAtSyncOfState
    case everythingFails

    var fault: PreloadedRecorder.Fault {
      switch self {
      case .minimumReached: .init(free: 300_000)
      case .fullAtWrites: .init(errno: ENOSPC, calls: "w")
      case .errorAtSyncOfLog: .init(errno: EIO, calls: "s", file: "log.db-wal")
      case .errorAtWrites: .init(errno: EIO, calls: "w")
      case .fullNowAndThen: .init(errno: ENOSPC, calls: "wst", every: 3)
      case .errorAtSyncOfState: .init(errno: EIO, calls: "s", file: "state.db-wal", every: 2)
      case .everythingFails: .init(errno: EIO, calls: "wsto")
      }
    }

    /// Whether the intake must have stopped.
    var stopsIntake: Bool { self != .errorAtSyncOfState && self != .fullNowAndThen }
  }

  @Test("parked by the disk's minimum, by ENOSPC and by EIO again and again under load, it loses nothing")
  func faultyDisk() throws {
    let house = try House("park")
    let recorder = try PreloadedRecorder()
    try house.startUpstream()
    try house.startDaemon(environment: recorder.environment(for: house, recording: false))
    let third = 100
    var total = 0
    var faults = 0
    var failures = 0
    for round in 0..<Self.rounds {
      let trouble = Trouble.allCases[round % Trouble.allCases.count]
      // A third of the round's messages are on their way when the disk begins to fail.
      let before = try publish(house, "r\(round)a", third)
      try recorder.set(trouble.fault)
      let during = try publish(house, "r\(round)b", third)
      try house.wait("round \(round): \(trouble) is felt") {
        guard trouble != .minimumReached else { return Self.status(house)?.spool.parked != nil }
        return try recorder.faultsMade() > faults
      }
      let after = try publish(house, "r\(round)c", third)
      if trouble.stopsIntake {
        try house.wait("round \(round): the intake stops for \(trouble)") {
          // The log is opened again at once, and fails again: the state between is seen by chance only.
          guard trouble == .minimumReached else { return logFailures(house) > failures }
          return Self.status(house)?.sources[0].state == "parked"
        }
      }
      for publisher in [before, during, after] { try #require(publisher.wait(seconds: 60) == 0) }
      if round % 5 == 4 {
        // It must come back from whatever the failing disk holds.
        house.killDaemon()
        try recorder.set(nil)
        try house.startDaemon(environment: recorder.environment(for: house, recording: false))
      }
      try recorder.set(nil)
      (faults, failures) = (try recorder.faultsMade(), logFailures(house))
      total += 3 * third
      try house.wait("round \(round): it goes on after \(trouble)", within: 60) {
        guard let status = Self.status(house) else { return false }
        return status.sources[0].state == "connected" && status.spool.received >= total
      }
    }
    try house.settle(distinct: total)
    try house.expectDelivered(count: total, repeatsAllowed: true)
    try house.expectProof()
    let figures =
      "\(Self.rounds) rounds, \(faults) calls made to fail, \(total) messages, all at the upstream, "
      + "\(try house.delivered().count - total) of them twice."
    print("parking:", figures)
    try Figures.record("parking", figures)
  }

  @Test("parked by the byte cap again and again under load, it loses nothing")
  func byteCap() throws {
    let rounds = max(2, Self.rounds / 5)
    var options = House.Options()
    options.spool = "keep: 0 s"
    let house = try House("parkcap", options)
    let text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try text.replacingOccurrences(of: "max: 512 MiB", with: "max: 64 MiB")
      .write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    try house.startDaemon()
    var publishers: [ChildProcess] = []
    for round in 0..<rounds {
      publishers.append(try publish(house, "cap\(round)", round == 0 ? 2_200 : 600, noise: 30_000))
      try house.wait("round \(round): the cap is reached and the intake stops", within: 90) {
        let status = try house.status()
        return status.spool.parked != nil && status.sources[0].state == "parked"
      }
      try house.startUpstream()
      try house.wait("round \(round): there is room again", within: 60) {
        Self.status(house)?.sources[0].state == "connected"
      }
      if round < rounds - 1 { house.killUpstream() }
    }
    for publisher in publishers { try #require(publisher.wait(seconds: 120) == 0) }
    let total = 2_200 + (rounds - 1) * 600
    try house.settle(distinct: total)
    try house.expectDelivered(count: total, repeatsAllowed: true)
    try house.expectProof()
  }

  @Test("parked by the minimum of a small tmpfs again and again under load, it loses nothing")
  func tinyDisk() throws {
    // A mount namespace of its own: nothing is left behind, and without root a user namespace will do.
    let unshare = geteuid() == 0 ? ["unshare", "-m"] : ["unshare", "-Urm"]
    let may = try ChildProcess.run(unshare[0], unshare[1...] + ["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
    guard may.status == 0 else {
      withKnownIssue("tmpfs cannot be mounted here, not even in a namespace: \(may.output)") {
        Issue.record("not run")
      }
      return
    }
    let rounds = max(2, Self.rounds / 10)
    var options = House.Options()
    options.spool = "keep: 0 s"
    let house = try House("parktiny", options)
    let text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try text.replacingOccurrences(of: "max: 512 MiB, min_free: 1 MiB", with: "max: 64 MiB, min_free: 16 MiB")
      .write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    mkdir(house.spool, 0o750)
    let script = """
      mount -t tmpfs -o size=48m,mode=0700 tmpfs '\(house.spool)' &&
      exec '\(House.forebay)' run --config '\(house.configurationPath)' --state '\(house.directory.path)'
      """
    let daemon = try ChildProcess(
      unshare[0], unshare[1...] + ["sh", "-c", script], output: house.directory.file("daemon.log"))
    // What is found below the mount point from outside leads into the namespace.
    symlink("/proc/\(daemon.pid)/root\(house.spool)/forebay.sock", house.spool + "/forebay.sock")
    try house.wait("the daemon answers") { Self.status(house) != nil }
    var publishers: [ChildProcess] = []
    for round in 0..<rounds {
      // More than the disk holds: the round before may have been delivered to the last message.
      publishers.append(try publish(house, "tiny\(round)", 1_200, noise: 30_000))
      try house.wait("round \(round): the disk is full", within: 60) {
        let state = Self.status(house)?.sources[0].state
        return state == "parked" || state == "logFailed"
      }
      try house.startUpstream()
      try house.wait("round \(round): there is room again", within: 60) {
        Self.status(house)?.sources[0].state == "connected"
      }
      if round < rounds - 1 { house.killUpstream() }
    }
    for publisher in publishers { try #require(publisher.wait(seconds: 120) == 0) }
    let total = rounds * 1_200
    try house.settle(distinct: total)
    try house.expectDelivered(count: total, repeatsAllowed: true)
    // By its own name: SQLite resolves the link that leads into the namespace.
    let enter = geteuid() == 0 ? ["-m"] : ["-U", "--preserve-credentials", "-m"]
    let audit = try ChildProcess.run(
      "nsenter", enter + ["-t", "\(daemon.pid)", House.forebay, "audit", "--spool", house.spool])
    #expect(audit.status == 0, "\(audit.output)")
    daemon.signal(SIGTERM)
    #expect(daemon.wait(seconds: 40) == 0)
  }

  /// Nil while there is none, because the log is closed after a failure.
  private static func status(_ house: House) -> House.Status? { try? house.status() }

  private func logFailures(_ house: House) -> Int {
    TemporaryDirectory.read(house.directory.file("daemon.log")).components(separatedBy: "the log failed").count - 1
  }

  /// Publishes `count` messages of one device, numbered from 1.
  /// - Parameter noise: letters in each that no compression shrinks.
  private func publish(_ house: House, _ device: String, _ count: Int, noise: Int = 0) throws -> ChildProcess {
    var random = SplitMix(seed: UInt64(count))
    let digits = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/".utf8)
    var text: [UInt8] = []
    for number in 1...count {
      text += Array("{\"device\":\"\(device)\",\"seq\":\(number),\"ts\":1700000000000,\"noise\":\"".utf8)
      var bits: UInt64 = 0
      for index in 0..<noise {
        if index % 10 == 0 { bits = random.next() }
        text.append(digits[Int(bits & 63)])
        bits >>= 6
      }
      text += Array("\"}\n".utf8)
    }
    let file = house.directory.file("lines-\(device)")
    try Data(text).write(to: URL(fileURLWithPath: file))
    return try ChildProcess(
      "mosquitto_pub",
      ["-h", "127.0.0.1", "-p", "\(house.broker.port)", "-t", "sensors/\(device)/noise", "-q", "1", "-l"],
      output: house.directory.file("publisher.log"), input: file)
  }
}
