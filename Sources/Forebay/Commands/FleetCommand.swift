import ArgumentParser
import Glibc
internal import Status
internal import Telemetry

/// `forebay fleet`: many gateways at a glance.
struct FleetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fleet",
    abstract: "Ask many gateways for their status and show the worst first.",
    discussion: """
      Asks every gateway of an inventory for /v1/status, so many at a time, each within its time, and shows \
      those first that need somebody. With --every it goes on asking, over connections that it keeps; with \
      --serve it also serves the fleet to Prometheus (/metrics) and as JSON (/v1/fleet). A gateway is ok, \
      warning (tickets only), critical (somebody is called), unreachable, or invalid: what answers is not the \
      gateway as it ought to be. docs/fleet.md describes the inventory, the states and the pages.

      EXAMPLES:
        forebay fleet https://gw-1.example:8420 https://gw-2.example:8420
        forebay fleet --inventory fleet.yaml --token-file fleet.token
        forebay fleet --inventory fleet.yaml --json | jq '.gateways[0]'
        forebay fleet --inventory fleet.yaml --fail-on critical unreachable=5%
        forebay fleet --dns _forebay._tcp.plant.example --ca-file ca.pem
        forebay fleet --inventory fleet.yaml --every 15s --serve 127.0.0.1:9180
        forebay fleet --inventory fleet.yaml --file-sd > targets/gateways/fleet.json

      An inventory is YAML, or one gateway a line:
        https://gw-042.plant.example:8420 name=gw-042 site=plant-7 line=3

      --fail-on takes rules: warning, critical, unreachable or invalid, alone (one gateway is enough), with a \
      number or with a percentage of all gateways, of which more make the rule true. Without it: critical \
      unreachable invalid. 'never' stands for no rule.

      EXIT STATUS: 0 no rule of --fail-on is met; 1 one is; 2 it could not work (the reason is on standard \
      error); 64 wrong usage.
      """)

  @Argument(help: ArgumentHelp("Gateways.", valueName: "url"))
  var urls: [String] = []

  @Option(name: .shortAndLong, help: ArgumentHelp("File with gateways; '-': standard input.", valueName: "file"))
  var inventory: String?

  @Option(
    parsing: .singleValue,
    help: ArgumentHelp(
      "A name whose records are gateways: SRV where it begins with '_', else addresses. May be repeated.",
      valueName: "name"))
  var dns: [String] = []

  @Option(help: ArgumentHelp("Of gateways that the DNS names: https or http.", valueName: "scheme"))
  var scheme = "https"

  @Option(help: ArgumentHelp("The name server to ask, instead of the system's.", valueName: "address:port"))
  var dnsServer: String?

  @Option(help: ArgumentHelp("File with the bearer token for gateways that have none of their own.", valueName: "file"))
  var tokenFile: String?

  @Option(help: ArgumentHelp("PEM file with the authorities that vouch for the gateways.", valueName: "file"))
  var caFile: String?

  @Option(help: ArgumentHelp("PEM file with our certificate, for gateways that ask for one.", valueName: "file"))
  var certFile: String?

  @Option(help: ArgumentHelp("PEM file with the key of our certificate.", valueName: "file"))
  var keyFile: String?

  @Option(help: ArgumentHelp("Go on asking, each gateway once in this time.", valueName: "duration"))
  var every: String?

  @Option(help: "Gateways that are asked at one time.")
  var concurrency = 512

  @Option(help: ArgumentHelp("Time for a connection.", valueName: "duration"))
  var connectTimeout = "2s"

  @Option(help: ArgumentHelp("Time for a gateway, from the first packet to the last.", valueName: "duration"))
  var timeout = "5s"

  @Option(help: "Gateways that the table shows.")
  var limit = 20

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("When to end with status 1.", valueName: "rule"))
  var failOn: [String] = []

  @OptionGroup(title: "SERVING") var serving: FleetServing

  @Flag(help: "Print the whole fleet as one JSON document.") var json = false
  @Flag(help: "Print the whole fleet as a page for Prometheus.") var prometheus = false
  @Flag(help: "Ask nobody; print the inventory as Prometheus' file_sd wants it.") var fileSd = false

  /// What one gateway is asked in, while pages are served and nothing else is said.
  private static let usualInterval: Int64 = 15_000_000_000
  /// The inventory and the DNS are looked at again after so many seconds.
  private static let refresh: Int64 = 60

  func validate() throws {
    guard !urls.isEmpty || inventory != nil || !dns.isEmpty else {
      throw ValidationError("Name gateways: URLs, --inventory FILE or --dns NAME.")
    }
    guard ["http", "https"].contains(scheme) else {
      throw ValidationError("--scheme \(scheme): expected https or http.")
    }
    guard (1...10_000).contains(concurrency) else { throw ValidationError("--concurrency: expected 1 to 10000.") }
    guard limit >= 0 else { throw ValidationError("--limit: expected 0 or more.") }
    guard [json, prometheus, fileSd].count(where: { $0 }) <= 1 else {
      throw ValidationError("--json, --prometheus or --file-sd, one of them.")
    }
    guard (certFile == nil) == (keyFile == nil) else {
      throw ValidationError("--cert-file and --key-file go together.")
    }
    if let dnsServer {
      guard let address = ListenAddress(dnsServer), address.port > 0, !address.host.contains(":") else {
        throw ValidationError("--dns-server \(dnsServer): expected an IPv4 address and a port, such as 10.0.0.1:53.")
      }
    }
    _ = try serving.settings()
    _ = try rules()
    _ = try settings()
  }

  func run() async throws {
    let rules = try rules()
    let board: FleetBoard
    do {
      let loaded = try sources.load()
      for warning in loaded.warnings { Output.complain("forebay fleet: \(warning)") }
      if fileSd { return StandardStream.output.write(line: try FleetTargets.json(loaded.fleet.targets)) }
      var settings = try settings()
      let connections = max(1, FileDescriptors.raise() - FileDescriptors.spare)
      settings.concurrency = min(settings.concurrency, connections)
      settings.mostKept = connections - settings.concurrency
      let monitor = FleetMonitor(settings)
      board = settings.interval == nil ? await askOnce(monitor, loaded) : try await watch(monitor, loaded)
      await monitor.stop()
    } catch {
      Output.complain("forebay fleet: \(error)")
      throw ExitCode(2)
    }
    let met = rules.filter { $0.verdict(on: board).isMet }
    for rule in met {
      let count = Output.count(Int64(rule.verdict(on: board).count), "gateway")
      Output.complain("forebay fleet: --fail-on \(rule.text) is met by \(count)")
    }
    if !met.isEmpty { throw ExitCode(1) }
  }

  private var sources: FleetSources {
    var sources = FleetSources()
    sources.inventory = inventory
    sources.urls = urls
    sources.names = dns
    sources.scheme = scheme
    sources.nameServer = dnsServer.flatMap(ListenAddress.init)
    sources.credentials = FleetTarget.Credentials(
      tokenFile: tokenFile, authorities: caFile, certificate: certFile, key: keyFile)
    return sources
  }

  private func rules() throws -> [FleetRule] {
    if failOn.isEmpty { return FleetRule.usual }
    if failOn == ["never"] { return [] }
    do {
      return try failOn.map { text throws(FleetRule.Fault) in try FleetRule(text) }
    } catch {
      throw ValidationError("--fail-on \(error).")
    }
  }

  private func settings() throws -> FleetMonitor.Settings {
    func duration(_ text: String, _ option: String, _ range: ClosedRange<Int64>) throws -> Int64 {
      guard let value = try? Quantity.duration(text), range.contains(value) else {
        throw ValidationError(
          "\(option) \(text): expected \(Quantity.describe(duration: range.lowerBound)) to "
            + "\(Quantity.describe(duration: range.upperBound)), such as 15s.")
      }
      return value
    }
    let second: Int64 = 1_000_000_000
    var settings = FleetMonitor.Settings()
    settings.concurrency = concurrency
    settings.limits.connect = try duration(connectTimeout, "--connect-timeout", second / 10...60 * second)
    settings.limits.total = try duration(timeout, "--timeout", second / 10...300 * second)
    settings.interval = try every.map { try duration($0, "--every", second...86_400 * second) }
    if serving.serve != nil, settings.interval == nil { settings.interval = FleetCommand.usualInterval }
    return settings
  }

  // MARK: Once

  private func askOnce(_ monitor: FleetMonitor, _ loaded: FleetSources.Loaded) async -> FleetBoard {
    let begun = SystemClock.monotonic()
    let isTerminal = StandardStream.error.isTerminal
    let progress = Task {
      while isTerminal, !Task.isCancelled {
        let asked = monitor.board.pulls.total
        // A carriage return and "erase to the end of the line": the line is written over.
        let total = Output.grouped(Int64(loaded.fleet.targets.count))
        StandardStream.error.write(Array("\r\u{1B}[K\(Output.grouped(asked)) of \(total) asked".utf8))
        try? await Task.sleep(for: .milliseconds(200))
      }
    }
    monitor.watch(loaded.fleet)
    await monitor.finish()
    progress.cancel()
    await progress.value
    if isTerminal { StandardStream.error.write(Array("\r\u{1B}[K".utf8)) }
    let board = monitor.board
    show(board)
    if !json, !prometheus {
      let took = Output.decimal(Double(SystemClock.monotonic() - begun) / 1e9, places: 1)
      StandardStream.output.write(line: "\n\(FleetTable.summary(board)), asked in \(took) s")
    }
    return board
  }

  private func show(_ board: FleetBoard) {
    if json {
      let text = try? Output.json(FleetDocument(board, at: SystemClock.wall()), pretty: every == nil)
      StandardStream.output.write(line: text ?? "{}")
    } else if prometheus {
      StandardStream.output.write(FleetMetrics.page(board, at: SystemClock.wall()))
    } else {
      StandardStream.output.write(line: FleetTable.text(board, limit: limit))
    }
  }

  // MARK: For as long as it runs

  private func watch(_ monitor: FleetMonitor, _ first: FleetSources.Loaded) async throws -> FleetBoard {
    let signals = SignalStream([SIGTERM, SIGINT, SIGHUP])
    let server = try await startServer(monitor)
    let interval = try settings().interval ?? FleetCommand.usualInterval
    monitor.watch(first.fleet)
    // A first look soon, then one after each interval.
    let clock = Task {
      try? await Task.sleep(nanoseconds: UInt64(min(interval, 2_000_000_000)))
      while !Task.isCancelled {
        signals.send(0)
        try? await Task.sleep(nanoseconds: UInt64(interval))
      }
    }
    defer { clock.cancel() }
    var loaded = first
    var refreshed = SystemClock.monotonic()
    for await signal in signals {
      if signal == SIGTERM || signal == SIGINT { break }
      let now = SystemClock.monotonic()
      if signal == SIGHUP || now - refreshed >= FleetCommand.refresh * 1_000_000_000 {
        refreshed = now
        do {
          if let fresh = signal == SIGHUP ? try sources.load() : try sources.reload(after: loaded) {
            for warning in fresh.warnings { Output.complain("forebay fleet: \(warning)") }
            loaded = fresh
            monitor.watch(fresh.fleet, forgettingIdentities: signal == SIGHUP)
          }
        } catch {
          Output.complain("forebay fleet: \(error); the list of before stays")
        }
      }
      if signal == SIGHUP { renew(server) }
      if signal == 0 { showRound(monitor.board, isServing: server != nil) }
    }
    await server?.stop(grace: 1_000_000_000)
    return monitor.board
  }

  private func renew(_ server: StatusServer?) {
    do { try server?.reload() } catch {
      Output.complain("forebay fleet: \(error); the certificate of before stays")
    }
  }

  private func startServer(_ monitor: FleetMonitor) async throws -> StatusServer? {
    guard let settings = try serving.settings() else { return nil }
    let (server, port) = try await FleetServer.start(settings) { monitor.board }
    StandardStream.output.write(line: "listening on \(ListenAddress(host: settings.host, port: port))")
    return server
  }

  private func showRound(_ board: FleetBoard, isServing: Bool) {
    if json || prometheus { return show(board) }
    let summary = "\(Output.time(SystemClock.wall()))  \(FleetTable.summary(board))"
    guard !isServing else { return StandardStream.output.write(line: summary) }
    // On a terminal the screen is written over.
    if StandardStream.output.isTerminal { StandardStream.output.write(Array("\u{1B}[H\u{1B}[2J".utf8)) }
    StandardStream.output.write(line: summary + "\n\n" + FleetTable.text(board, limit: limit) + "\n")
  }
}

/// How many files and connections this process may have open.
enum FileDescriptors {
  /// For everything but connections to gateways.
  static let spare = 256

  /// Asks for as many as are permitted (getrlimit(2)); returns how many that are.
  static func raise() -> Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    if limit.rlim_cur < limit.rlim_max {
      limit.rlim_cur = limit.rlim_max
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
    return Int(clamping: limit.rlim_cur)
  }
}
