internal import FoundationEssentials
internal import Glibc
internal import Spool
internal import Synchronization
internal import Telemetry

/// The whole way on one machine: programs, live view and closing audit.
final class Demonstration {
  private let folder: String
  private let data: String?
  private let devices: Int
  private let rate: Int
  private let executable: String
  private let brokerPort: Int
  private let upstreamPort: Int
  private var programs: [Part: Program] = [:]

  private enum Part: String, CaseIterable {
    case broker
    case upstream
    case daemon
    case devices
  }

  init(folder: String?, data: String?, devices: Int, rate: Int) throws {
    if let folder {
      guard mkdir(folder, 0o755) == 0 || errno == EEXIST else {
        throw Program.Failure(description: "\(folder): \(String(cString: strerror(errno)))")
      }
      self.folder = folder
    } else {
      var template = Array("/tmp/forebay-demo-XXXXXX".utf8CString)
      guard mkdtemp(&template) != nil else {
        throw Program.Failure(description: "no folder can be made under /tmp")
      }
      self.folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    self.data = data
    self.devices = devices
    self.rate = rate
    executable = try Demonstration.executablePath()
    brokerPort = try LoopbackPort.free()
    upstreamPort = try LoopbackPort.free()
  }

  private static func executablePath() throws -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
    guard count > 0 else { throw Program.Failure(description: "/proc/self/exe cannot be read") }
    return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private var spool: String { folder + "/spool" }
  private var configuration: String { folder + "/forebay.yaml" }

  /// - Returns: whether everything added up at the end.
  func run(seconds: Int?) throws -> Bool {
    try writeFiles()
    defer { for part in Part.allCases.reversed() { programs[part]?.stop(within: 5) } }
    try start(.broker)
    try waitUntil("the broker listens", within: 10) { LoopbackPort.isOpen(self.brokerPort) }
    try start(.upstream)
    try waitUntil("the upstream listens", within: 10) { LoopbackPort.isOpen(self.upstreamPort) }
    try start(.daemon)
    try waitUntil("the daemon answers", within: 20) { (try? self.status()) != nil }
    try start(.devices)
    introduce()

    let end = seconds.map { SystemClock.monotonic() + Int64($0) * 1_000_000_000 }
    let interrupted = Interruption()
    Task {
      for await _ in SignalStream([SIGTERM, SIGINT]) { interrupted.raise() }
    }
    var view = LiveView(spool: spool)
    while !interrupted.isRaised {
      if let end, SystemClock.monotonic() >= end { break }
      interrupted.wait(nanoseconds: 1_000_000_000)
      try revive()
      view.show(try? status())
    }
    return try close()
  }

  /// At once, also into a pipe.
  private func say(_ text: String) { StandardStream.output.write(line: text) }

  // MARK: Programs

  private func start(_ part: Part) throws {
    let log = "\(folder)/\(part.rawValue).log"
    programs[part] =
      switch part {
      case .broker:
        try Program(
          name: "mosquitto", Demonstration.mosquitto, ["-c", folder + "/mosquitto.conf"], output: log)
      case .upstream:
        try Program(
          name: "forebay receive", executable,
          ["receive", "--listen", "127.0.0.1:\(upstreamPort)", "--store", folder + "/upstream"],
          output: log)
      case .daemon:
        try Program(
          name: "forebay run", executable,
          ["run", "--config", configuration, "--state", spool], output: log)
      case .devices:
        try Program(name: "forebay simulate", executable, simulateArguments, output: log)
      }
  }

  private static var mosquitto: String {
    // Debian installs it where PATH of an ordinary user does not look.
    access("/usr/sbin/mosquitto", X_OK) == 0 ? "/usr/sbin/mosquitto" : "mosquitto"
  }

  private var simulateArguments: [String] {
    var arguments = [
      "simulate", "--url", "mqtt://127.0.0.1:\(brokerPort)", "--devices", "\(devices)",
      "--rate", "\(rate)", "--topic", "sensors/{device}/{series}", "--qos", "1",
    ]
    if let data { arguments += ["--csv", data] }
    return arguments
  }

  /// What has ended by itself, or by a curious hand, is started again.
  private func revive(except stopped: Part? = nil) throws {
    for part in Part.allCases where part != stopped && programs[part]?.isRunning == false {
      say("\n\(part.rawValue) has ended; it is started again")
      try start(part)
    }
  }

  private func waitUntil(_ what: String, within seconds: Int64, _ condition: () -> Bool) throws {
    let deadline = SystemClock.monotonic() + seconds * 1_000_000_000
    while !condition() {
      if let ended = programs.first(where: { !$0.value.isRunning }) {
        let log = "\(folder)/\(ended.key.rawValue).log"
        throw Program.Failure(
          description: "\(ended.value.name) has ended; its own words (\(log)):\n"
            + ((try? TextFile.read(log)) ?? ""))
      }
      guard SystemClock.monotonic() < deadline else {
        throw Program.Failure(
          description: "waited \(seconds) seconds until \(what); the programs' own words are in \(folder)/*.log")
      }
      poll(nil, 0, 50)
    }
  }

  private func status() throws -> StatusReport {
    try StatusReport(document: try LocalSocket.fetch(spool + "/forebay.sock"))
  }

  // MARK: Files

  private func writeFiles() throws {
    try write(
      "mosquitto.conf",
      """
      listener \(brokerPort) 127.0.0.1
      allow_anonymous true
      persistence true
      persistence_location \(folder)/
      max_queued_messages 1000000
      max_inflight_messages 1000
      # Started as root it would give up its rights, and then not be allowed to write here.
      user \(Demonstration.userName)
      """)
    try write(
      "forebay.yaml",
      """
      gateway: { id: demo, site: here }
      sources:
        local: { mqtt: { url: "mqtt://127.0.0.1:\(brokerPort)" } }
      spool: { directory: spool, max: 1 GiB, min_free: 64 MiB }
      status: { listen: "127.0.0.1:0" }
      pipelines:
        machines:
          from: ["sensors/{device}/{series}"]
          key: device
          time: { field: ts, unit: ms }
          to: upstream
      uplinks:
        upstream: { http: { url: "http://127.0.0.1:\(upstreamPort)/v1/batches" } }
      """)
  }

  private static var userName: String {
    guard let entry = getpwuid(getuid()) else { return "nobody" }
    return String(cString: entry.pointee.pw_name)
  }

  private func write(_ name: String, _ text: String) throws {
    let path = "\(folder)/\(name)"
    guard let file = fopen(path, "w") else {
      throw Program.Failure(description: "\(path): \(String(cString: strerror(errno)))")
    }
    fputs(text + "\n", file)
    fclose(file)
  }

  private func introduce() {
    let rows = data.map { "the rows of \($0)" } ?? "made-up rows"
    say(
      "\(Output.count(Int64(devices), "device")) \(devices == 1 ? "plays" : "play") \(rows), \(Output.count(Int64(rate), "message")) a second "
        + "each. All of it lies in \(folder).")
    for part in Part.allCases {
      if let program = programs[part] {
        say("  \(part.rawValue): \(program.name), process \(program.pid)")
      }
    }
    say("Kill any of them with -9 and watch. Ctrl-C stops it all and prints the audit.\n")
  }

  // MARK: The end

  private func close() throws -> Bool {
    say("\n\nStopping: devices first, then the daemon, which delivers what it has.")
    programs[.devices]?.stop(within: 20)
    try drain()
    programs[.daemon]?.stop(within: 40)
    programs[.upstream]?.stop(within: 10)
    programs[.broker]?.stop(within: 10)
    let audit = try Audit.take(directory: spool)
    say("\nThe audit of the gateway:")
    say(AuditReport(audit).text)
    say("\nThe verdict of the upstream:")
    let report = try StoreReading(layout: BatchStoreLayout(directory: folder + "/upstream")).verify()
    say(report.text)
    return audit.balances && report.isComplete
  }

  /// Lets the daemon read and deliver what the devices published last.
  private func drain() throws {
    let deadline = SystemClock.monotonic() + 30_000_000_000
    var settled = 0
    while settled < 4, SystemClock.monotonic() < deadline {
      try revive(except: .devices)
      if let status = try? status() {
        let waiting = status.pipelines.reduce(0) { $0 + $1.backlog + $1.outboxReadings + Int64($1.openReadings) }
        settled = waiting == 0 ? settled + 1 : 0
      }
      poll(nil, 0, 250)
    }
  }
}

/// Ctrl-C, as the demonstration waits for it.
private final class Interruption: Sendable {
  private let raised = Atomic<Bool>(false)
  private let doorbell = Doorbell()

  func raise() {
    raised.store(true, ordering: .releasing)
    doorbell.ring()
  }

  var isRaised: Bool { raised.load(ordering: .acquiring) }

  func wait(nanoseconds: Int64) { doorbell.wait(until: SystemClock.monotonic() + nanoseconds) }
}
