import ArgumentParser
import Glibc
internal import Telemetry

/// `forebay simulate`: devices that publish over MQTT.
struct SimulateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Devices that publish recorded or made-up measurements over MQTT.",
    discussion: """
      Plays CSV files with the columns timestamp and value (RFC 4180), one series a file, or makes values \
      up when there is no --csv. A device publishes
        {"device":"pump-001","seq":1,"ts":1386018900000,"value":73.96,"series":"pump"}
      with a sequence number of its own, dense from 1, and ts in milliseconds: the recorded moment with \
      --speed, else the moment of sending. With --count, recordings begin again at their end; without it each \
      is played once, and made-up values go on until Ctrl-C. With --first-seq a simulation goes on where \
      another one ended.

      At QoS 1 it waits for the acknowledgement of everything, connects again when the broker goes away, and \
      reports what was published and acknowledged. Ctrl-C ends it so too; a second one at once. Standard error \
      says once that the broker cannot be reached, and that it is back; one that was never there is given up \
      after 10 s.

      EXAMPLES:
        forebay simulate --url mqtt://127.0.0.1:1883 --devices 20 --rate 5
        forebay simulate --url mqtt://127.0.0.1:1883 --csv data/nab --speed 3600
        forebay simulate --url mqtt://127.0.0.1:1883 --rate 0 --count 1000000 --json
        forebay simulate --url mqtts://b --ca-file ca.pem --user u --password-file p
        forebay simulate --url mqtt://127.0.0.1:1883 --outages every=60s,for=5s

      EXIT STATUS: 0 everything was acknowledged; 1 something was not, or was refused by the broker, or was \
      not published when it was stopped, because the broker was away (the report says so); \
      2 it could not work (the reason is on standard error); 64 wrong usage.
      """)

  @Option(help: ArgumentHelp("The broker.", valueName: "mqtt[s]://host[:port]"))
  var url: String

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("CSV files, or folders of them.", valueName: "file|folder"))
  var csv: [String] = []

  @Option(help: "How many devices; by default one per CSV file.")
  var devices: Int?

  @Option(help: "Connections that the devices are spread over.")
  var clients = 1

  @Option(help: "Messages a second of each device (default 1); 0: as fast as the broker takes them.")
  var rate: Double?

  @Option(help: "Messages a second of all devices together.")
  var totalRate: Double?

  @Option(help: "Recorded time runs so many times faster than real time.")
  var speed: Double?

  @Option(help: "Messages of all devices together, duplicates not counted.")
  var count: Int?

  @Option(help: "Sequence number of each device's first message.")
  var firstSeq = 1

  @Option(help: "Fill each payload up to so many bytes, with a member 'note'; one that is longer stays as it is.")
  var payloadBytes: Int?

  @Option(help: "Quality of service, 0 or 1.")
  var qos: Int32 = 1

  @Option(help: ArgumentHelp("By how much a message may be late, at random.", valueName: "duration"))
  var jitter = "0"

  @Option(help: ArgumentHelp("Percentage of messages that a device publishes twice.", valueName: "percent"))
  var duplicates = "0"

  @Option(
    help: ArgumentHelp(
      "Each device is silent for a while now and then, and afterwards sends what it kept.",
      valueName: "every=60s,for=5s"))
  var outages: String?

  @Option(help: "Where devices publish; {device} and {series} are replaced.")
  var topic = "sensors/{device}/{series}"

  @Option(help: "Seed of everything that is drawn at random.")
  var seed: UInt64 = 1

  @Option(help: "User name at the broker.")
  var user: String?

  @Option(help: ArgumentHelp("A file with the password.", valueName: "file"))
  var passwordFile: String?

  @Option(help: ArgumentHelp("PEM file with the authorities that vouch for the broker.", valueName: "file"))
  var caFile: String?

  @Option(help: ArgumentHelp("PEM file with a client certificate.", valueName: "file"))
  var certFile: String?

  @Option(help: ArgumentHelp("PEM file with the key of the client certificate.", valueName: "file"))
  var keyFile: String?

  @Flag(help: "Print the report as JSON.")
  var json = false

  func validate() throws {
    func require(_ condition: Bool, _ message: String) throws {
      if !condition { throw ValidationError(message) }
    }
    _ = try broker()
    _ = try outage()
    _ = try percent()
    _ = try duration(jitter, option: "--jitter")
    if let fault = TopicTemplate.fault(topic) { throw ValidationError("--topic \(topic): \(fault).") }
    try require(
      [rate, totalRate, speed].compactMap { $0 }.count <= 1,
      "--rate, --total-rate or --speed, only one.")
    try require(rate ?? 0 >= 0 && rate ?? 0 <= 1e6, "--rate: expected 0 to 1000000.")
    try require(totalRate ?? 0 >= 0 && totalRate ?? 0 <= 1e7, "--total-rate: expected 0 to 10000000.")
    try require(speed ?? 1 > 0 && speed ?? 1 <= 1e9, "--speed: expected a factor above 0.")
    try require((1...100_000).contains(devices ?? 1), "--devices: expected 1 to 100000.")
    try require((1...1000).contains(clients), "--clients: expected 1 to 1000.")
    try require((0...1).contains(qos), "--qos: expected 0 or 1.")
    try require(count ?? 1 >= 1, "--count: expected at least 1.")
    try require((1...1_000_000_000).contains(firstSeq), "--first-seq: expected 1 to 1000000000.")
    try require((1...1_000_000).contains(payloadBytes ?? 1), "--payload-bytes: expected 1 to 1000000.")
    try require(firstSeq == 1 || speed == nil, "--first-seq goes with --rate and --total-rate only.")
    try require((certFile == nil) == (keyFile == nil), "--cert-file and --key-file go together.")
    try require(passwordFile == nil || user != nil, "--password-file needs --user.")
    let secured = try broker().tls != nil
    try require(secured || (caFile == nil && certFile == nil), "--ca-file and --cert-file need mqtts:.")
  }

  func run() async throws {
    do {
      let simulation = Simulation(try plan()) { StandardStream.error.write(line: "forebay simulate: \($0)") }
      let signals = SignalStream([SIGTERM, SIGINT])
      let watcher = Task {
        for await _ in signals { simulation.interrupt() }
      }
      defer { watcher.cancel() }
      let report = try await simulation.run()
      StandardStream.output.write(line: json ? report.json : report.text)
      throw ExitCode(report.isClean ? 0 : 1)
    } catch let code as ExitCode {
      throw code
    } catch {
      StandardStream.error.write(line: "forebay simulate: \(error)")
      throw ExitCode(2)
    }
  }

  private func plan() throws -> SimulationPlan {
    var access = try broker()
    access.user = user
    if let passwordFile { access.password = try password(passwordFile) }
    var plan = SimulationPlan(access: access)
    plan.series = try readSeries()
    plan.clients = clients
    plan.devices = devices
    if let totalRate {
      plan.rate = .total(totalRate)
    } else if let speed {
      plan.rate = .speed(speed)
    } else {
      plan.rate = .perDevice(rate ?? 1)
    }
    plan.count = count
    plan.firstSequence = firstSeq
    plan.payloadBytes = payloadBytes
    plan.qos = qos
    plan.jitter = try duration(jitter, option: "--jitter")
    plan.duplicates = try percent()
    plan.outage = try outage()
    plan.topic = topic
    plan.seed = seed
    return plan
  }

  private func broker() throws -> BrokerAccess {
    guard var access = BrokerAccess(url: url) else {
      throw ValidationError(
        "--url '\(url)': expected mqtt://host[:port] or mqtts://host[:port], with the user in --user.")
    }
    if access.tls != nil {
      access.tls = .init(caFile: caFile, certificateFile: certFile, keyFile: keyFile)
    }
    return access
  }

  private func duration(_ text: String, option: String) throws -> Int64 {
    do { return try Quantity.duration(text) } catch {
      throw ValidationError("\(option) '\(text)': expected a duration such as 250ms, 5s or 1min.")
    }
  }

  private func percent() throws -> Double {
    let text = duplicates.hasSuffix("%") ? String(duplicates.dropLast()) : duplicates
    guard let value = Double(text), value >= 0, value <= 100 else {
      throw ValidationError("--duplicates '\(duplicates)': expected a percentage, 0 to 100.")
    }
    return value
  }

  private func outage() throws -> DeviceSchedule.Outage? {
    guard let outages else { return nil }
    var values: [Substring: Int64] = [:]
    for item in outages.split(separator: ",", omittingEmptySubsequences: false) {
      let pair = item.split(separator: "=", maxSplits: 1)
      guard pair.count == 2, pair[0] == "every" || pair[0] == "for" else {
        throw ValidationError("--outages '\(outages)': expected every=60s,for=5s, not '\(item)'.")
      }
      values[pair[0]] = try duration(String(pair[1]), option: "--outages")
    }
    guard let every = values["every"], let length = values["for"], length > 0, length < every else {
      throw ValidationError("--outages '\(outages)': expected every=60s,for=5s, the first the longer.")
    }
    return DeviceSchedule.Outage(every: every, length: length)
  }

  private func password(_ path: String) throws -> Secret {
    switch ConfigurationFiles.system.read(path, 1 << 16) {
    case .failure(let fault): throw UnusableInput(place: path, reason: fault.reason)
    case .success(let contents):
      let text = String(decoding: contents.bytes, as: UTF8.self)
      return Secret(text.hasSuffix("\n") ? String(text.dropLast()) : text)
    }
  }

  private func readSeries() throws -> [SeriesCSV] {
    var paths: [String] = []
    for path in csv {
      switch ConfigurationFiles.system.kind(path) {
      case .directory: paths += try files(in: path)
      case .missing: throw UnusableInput(place: path, reason: "does not exist")
      case .socket, .other: paths.append(path)
      }
    }
    return try paths.map { path in
      switch ConfigurationFiles.system.read(path, 1 << 30) {
      case .failure(let fault): throw UnusableInput(place: path, reason: fault.reason)
      case .success(let contents): return try SeriesCSV(contents.bytes, path: path)
      }
    }
  }

  /// The CSV files of a folder, by name.
  private func files(in folder: String) throws -> [String] {
    guard let directory = opendir(folder) else {
      throw UnusableInput(place: folder, reason: "cannot be read: \(String(cString: strerror(errno)))")
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name.hasSuffix(".csv") { names.append(name) }
    }
    guard !names.isEmpty else { throw UnusableInput(place: folder, reason: "holds no .csv file") }
    return names.sorted().map { "\(folder)/\($0)" }
  }
}
