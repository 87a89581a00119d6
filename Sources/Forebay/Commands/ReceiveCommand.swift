import ArgumentParser
import Glibc
import NIOSSL
import Telemetry

/// `forebay receive`: the reference upstream.
struct ReceiveCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "receive",
    abstract: "A reference upstream: takes batches over HTTP and keeps them.",
    discussion: """
      Takes batches as docs/delivery-protocol.md says and keeps each reading exactly once: one fsynced \
      record per batch in DIR/batches.log, from which the memory of what it has is rebuilt at every start. \
      SIGTERM and Ctrl-C stop it and print totals. SIGHUP reads tokens, certificate, key, authorities and \
      DIR/fail again; where something of it cannot be used, nothing changes.

      EXAMPLES:
        forebay receive --listen 127.0.0.1:9000 --store /tmp/upstream
        forebay receive --store /tmp/upstream --fail 503x3 '429:retry-after=2'
        forebay receive --store /tmp/upstream --verify --json
        forebay receive --store /tmp/upstream --export | sort | uniq -d

      --fail makes it fail on purpose. A rule is KIND, then xN (the first N requests) or %P (a \
      percentage of them), then options behind a colon; the first rule that applies wins:
        503  503x3  429x2:retry-after=2  401%10  404  409   answer with this status
        413:over=1000       ... if the batch has more uncompressed bytes
        400:matching=TEXT   ... if the uncompressed batch contains TEXT
        conflict            422: the identity exists with another body
        has-it              takes the batch and answers 409 with its digest
        redirect, captive   302; 200 with a page to log in
        silent              never answers
        half                takes the batch, closes half-way through the answer
        garbage             answers with what is not HTTP
        drop-after-store    takes the batch, closes without an answer
      DIR/fail holds such rules too, one a line; SIGHUP replaces all rules by it.

      EXIT STATUS: 0 stopped cleanly, or what was verified is complete; 1 what was verified is not \
      complete; 2 it could not work (the reason is on standard error); 64 wrong usage.
      """)

  @Option(help: ArgumentHelp("Where to listen; port 0 is any free port.", valueName: "host:port"))
  var listen = "127.0.0.1:9000"

  @Option(help: ArgumentHelp("Where the batches are kept.", valueName: "dir"))
  var store: String

  @Option(help: ArgumentHelp("A file with bearer tokens, one a line; senders must present one.", valueName: "file"))
  var tokenFile: String?

  @Option(help: ArgumentHelp("PEM file with the certificate chain for TLS.", valueName: "file"))
  var tlsCert: String?

  @Option(help: ArgumentHelp("PEM file with the key of the certificate.", valueName: "file"))
  var tlsKey: String?

  @Option(
    help: ArgumentHelp(
      "PEM file with the authorities that must vouch for the senders' certificates.",
      valueName: "file"))
  var clientCa: String?

  @Option(
    parsing: .upToNextOption, help: ArgumentHelp("Ways in which to fail.", valueName: "rule"))
  var fail: [String] = []

  @Option(help: "Seed of the percentages of --fail.")
  var seed: UInt64 = 0

  @Option(help: "Bytes of the largest body that is taken, compressed and uncompressed.")
  var maxBytes = 64 << 20

  @Flag(help: "Check every record and every chain of the store, print a verdict and end.")
  var verify = false

  @Flag(help: "Write all readings to standard output, in the order of the chains, and end.")
  var export = false

  @Flag(help: "With --export: write the identity of the batch and a tab before each reading.")
  var withIdentity = false

  @Flag(help: "Print a line of totals every second.")
  var live = false

  @Flag(help: "Print verdict and totals as JSON.")
  var json = false

  func validate() throws {
    guard ListenAddress(listen) != nil else {
      throw ValidationError("--listen \(listen): expected host:port, such as 127.0.0.1:9000.")
    }
    guard (1...1 << 30).contains(maxBytes) else {
      throw ValidationError("--max-bytes \(maxBytes): expected 1 to \(1 << 30).")
    }
    guard (tlsCert == nil) == (tlsKey == nil) else {
      throw ValidationError("--tls-cert and --tls-key go together.")
    }
    guard clientCa == nil || tlsCert != nil else {
      throw ValidationError("--client-ca needs --tls-cert and --tls-key.")
    }
    guard !(verify && export) else { throw ValidationError("--verify or --export, not both.") }
    guard export || !withIdentity else { throw ValidationError("--with-identity needs --export.") }
    do {
      for rule in fail { _ = try FaultRule(rule) }
    } catch {
      throw ValidationError(error.description)
    }
  }

  func run() async throws {
    let layout = BatchStoreLayout(directory: store)
    do {
      if verify {
        let report = try StoreReading(layout: layout).verify()
        StandardStream.output.write(line: json ? report.json : report.text)
        throw ExitCode(report.isComplete ? 0 : 1)
      } else if export {
        try exportAll(layout)
      } else {
        try await serve(layout)
      }
    } catch let code as ExitCode {
      throw code
    } catch {
      StandardStream.error.write(line: "forebay receive: \(error)")
      throw ExitCode(2)
    }
  }

  private func exportAll(_ layout: BatchStoreLayout) throws {
    try StoreReading(layout: layout).export { identity, lines in
      guard withIdentity else { return StandardStream.output.write(lines) }
      let prefix = Array("\(identity)\t".utf8)
      var out: [UInt8] = []
      for line in lines.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast() {
        out += prefix + line + [UInt8(ascii: "\n")]
      }
      StandardStream.output.write(out)
    }
  }

  private func serve(_ layout: BatchStoreLayout) async throws {
    let signals = SignalStream([SIGTERM, SIGINT, SIGHUP])
    let writer = try StoreWriter(layout: layout) {
      var time = timespec()
      clock_gettime(CLOCK_REALTIME, &time)
      return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
    report(writer.opening, layout)
    let rules = try fail.map { rule throws(FaultGrammarError) in try FaultRule(rule) }
    let service = ReceiverService(
      writer: writer, maximumBytes: maxBytes, tokens: try tokens(),
      faults: FaultPlan(try rules + faultFile(layout), seed: seed))
    guard var address = ListenAddress(listen) else { throw ValidationError("--listen \(listen)") }
    let context = try tls()
    let server: ReceiverServer
    do {
      server = try await ReceiverServer.start(
        host: address.host, port: address.port, tls: context, maximumBytes: maxBytes,
        service: service)
    } catch {
      throw UnusableInput(place: "\(address)", reason: address.obstacle(error, option: "--listen"))
    }
    address.port = server.port
    StandardStream.output.write(line: "listening on \(address)")

    let progress = live ? Task { await printProgress(service) } : nil
    for await signal in signals {
      guard signal == SIGHUP else { break }
      reload(layout, service, server)
    }
    progress?.cancel()
    try await server.stopListening()
    try await writer.close()
    try await server.stop()
    StandardStream.output.write(line: json ? service.totals.json : service.totals.text)
  }

  private func report(_ opening: StoreWriter.Opening, _ layout: BatchStoreLayout) {
    if let torn = opening.torn {
      StandardStream.error.write(
        line: "forebay receive: cut \(torn.count) bytes of a torn record off \(layout.records) "
          + "at offset \(torn.lowerBound); they were never acknowledged")
    }
    for range in opening.damaged {
      StandardStream.error.write(
        line: "forebay receive: \(layout.records): \(range.count) damaged bytes at offset "
          + "\(range.lowerBound) are passed over; --verify shows what is missing")
    }
  }

  private func reload(_ layout: BatchStoreLayout, _ service: ReceiverService, _ server: ReceiverServer) {
    do {
      // First what can fail.
      let plan = FaultPlan(try faultFile(layout), seed: seed)
      let (tokens, context) = (try tokens(), try tls())
      service.reload(faults: plan, tokens: tokens)
      server.adopt(context)
      StandardStream.output.write(line: "failing with \(plan.text)")
    } catch {
      StandardStream.error.write(line: "forebay receive: \(error); nothing was changed")
    }
  }

  private func faultFile(_ layout: BatchStoreLayout) throws -> [FaultRule] {
    switch ConfigurationFiles.system.read(layout.faults, 1 << 20) {
    case .success(let contents):
      return try FaultRule.rules(
        file: String(decoding: contents.bytes, as: UTF8.self), path: layout.faults)
    case .failure(.missing): return []
    case .failure(let fault): throw UnusableInput(place: layout.faults, reason: fault.reason)
    }
  }

  /// While a token is replaced, the old and the new one count: more than that is a mistake.
  private static let mostTokens = 16

  private func tokens() throws -> [Secret] {
    guard let tokenFile else { return [] }
    switch ConfigurationFiles.system.read(tokenFile, 1 << 16) {
    case .failure(let fault): throw UnusableInput(place: tokenFile, reason: fault.reason)
    case .success(let contents):
      let text = String(decoding: contents.bytes, as: UTF8.self)
      let lines = text.split(whereSeparator: \.isNewline)
        .map { $0.split(whereSeparator: \.isWhitespace) }.filter { !$0.isEmpty }
      guard (1...ReceiveCommand.mostTokens).contains(lines.count), lines.allSatisfy({ $0.count == 1 }) else {
        throw UnusableInput(
          place: tokenFile, reason: "does not hold tokens, one a line, at most \(ReceiveCommand.mostTokens)")
      }
      return lines.map { Secret(String($0[0])) }
    }
  }

  private func tls() throws -> NIOSSLContext? {
    guard let tlsCert, let tlsKey else { return nil }
    for path in [tlsCert, tlsKey] + (clientCa.map { [$0] } ?? []) {
      if case .failure(let fault) = ConfigurationFiles.system.read(path, 1 << 20) {
        throw UnusableInput(place: path, reason: fault.reason)
      }
    }
    do {
      return try ReceiverServer.tls(
        certificate: tlsCert, key: tlsKey, clientAuthorities: clientCa)
    } catch {
      throw UnusableInput(place: "\(tlsCert), \(tlsKey)", reason: "cannot be used for TLS: \(error)")
    }
  }

  private func printProgress(_ service: ReceiverService) async {
    let terminal = StandardStream.output.isTerminal
    while !Task.isCancelled {
      let text = service.totals.text
      // A carriage return and "erase to the end of the line": the line is written over.
      if terminal {
        StandardStream.output.write(Array("\r\u{1B}[K\(text)".utf8))
      } else {
        StandardStream.output.write(line: text)
      }
      try? await Task.sleep(for: .seconds(1))
    }
    if terminal { StandardStream.output.write(line: "") }
  }
}
