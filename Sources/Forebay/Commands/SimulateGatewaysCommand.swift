import ArgumentParser
import Glibc
import NIOCore
import NIOSSL

/// `forebay simulate-gateways`: a fleet to try `forebay fleet` and dashboards with.
struct SimulateGatewaysCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate-gateways",
    abstract: "A fleet of gateways that only have a status, some of them faulty.",
    discussion: """
      Answers as so many gateways would, all behind one port and told apart by the path \
      (/gw-00042/v1/status), and writes the inventory that 'forebay fleet' reads. Of 50 gateways one is \
      critical and five have a ticket. With --faulty-every 3 every third one is faulty, in turn in each of \
      the ways of --faults; by default all of them:
        dead, lost          nobody listens; packets to it get lost
        silent, drip        never answers; one byte a second
        endless, headers    a body or a header without end
        wrong-json          JSON that is cut off
        other-json          JSON that is no status
        wrong-id            the id of another gateway
        error, broken       503; a body that is cut off
        garbage             what is not HTTP
        wrong-certificate   of nobody we know (with --wrong-cert)

      EXAMPLES:
        forebay simulate-gateways --count 2000 --inventory fleet.txt
        forebay simulate-gateways --count 900 --faulty-every 3 --inventory fleet.txt

      EXIT STATUS: 0 stopped by SIGTERM or Ctrl-C; 2 it could not work (the reason is on standard error); \
      64 wrong usage.
      """)

  @Option(help: "How many gateways.")
  var count = 100

  @Option(help: ArgumentHelp("Where to listen; port 0 is any free port.", valueName: "host:port"))
  var listen = "127.0.0.1:0"

  @Option(help: ArgumentHelp("Write the inventory there.", valueName: "file"))
  var inventory: String?

  @Option(help: "One gateway of so many is faulty; 0: none.")
  var faultyEvery = 0

  @Option(parsing: .upToNextOption, help: ArgumentHelp("Ways in which they fail.", valueName: "fault"))
  var faults: [String] = []

  @Option(help: ArgumentHelp("PEM file with the certificate chain for TLS.", valueName: "file"))
  var tlsCert: String?

  @Option(help: ArgumentHelp("PEM file with the key of the certificate.", valueName: "file"))
  var tlsKey: String?

  @Option(help: ArgumentHelp("PEM file with the certificate of those that have a wrong one.", valueName: "file"))
  var wrongCert: String?

  @Option(help: ArgumentHelp("PEM file with the key of that certificate.", valueName: "file"))
  var wrongKey: String?

  func validate() throws {
    guard (1...99_999).contains(count) else { throw ValidationError("--count: expected 1 to 99999.") }
    guard faultyEvery >= 0 else { throw ValidationError("--faulty-every: expected 0 or more.") }
    guard ListenAddress(listen) != nil else {
      throw ValidationError("--listen \(listen): expected host:port, such as 127.0.0.1:0.")
    }
    guard (tlsCert == nil) == (tlsKey == nil), (wrongCert == nil) == (wrongKey == nil) else {
      throw ValidationError("A certificate and its key go together.")
    }
    guard wrongCert == nil || tlsCert != nil else { throw ValidationError("--wrong-cert needs --tls-cert.") }
    _ = try behaviours()
  }

  private func behaviours() throws -> [GatewayBehaviour] {
    let known = GatewayBehaviour.allCases.filter { $0.isFaulty && ($0 != .wrongCertificate || wrongCert != nil) }
    guard !faults.isEmpty else { return known }
    return try faults.map { text in
      guard let fault = known.first(where: { $0.rawValue == text }) else {
        throw ValidationError("--faults \(text): expected one of \(known.map(\.rawValue).joined(separator: ", ")).")
      }
      return fault
    }
  }

  func run() async throws {
    do {
      guard let address = ListenAddress(listen) else { throw ValidationError("--listen \(listen)") }
      _ = FileDescriptors.raise()
      let signals = SignalStream([SIGTERM, SIGINT])
      let plan = SimulatedGateways.Plan(count: count, faultyEvery: faultyEvery, faults: try behaviours())
      func tls(_ certificate: String?, _ key: String?) throws -> NIOSSLContext? {
        guard let certificate, let key else { return nil }
        do {
          return try ReceiverServer.tls(certificate: certificate, key: key, clientAuthorities: nil)
        } catch {
          throw UnusableInput(place: "\(certificate), \(key)", reason: "cannot be used for TLS: \(error)")
        }
      }
      let gateways: SimulatedGateways
      do {
        gateways = try await SimulatedGateways(
          plan, on: address, tls: try tls(tlsCert, tlsKey), wrong: try tls(wrongCert, wrongKey))
      } catch let error where !(error is UnusableInput) {
        throw UnusableInput(place: "\(address)", reason: address.obstacle(error, option: "--listen"))
      }
      if let inventory { try write(gateways.inventory, to: inventory) }
      StandardStream.output.write(line: "listening on \(gateways.address)")
      for await _ in signals { break }
      await gateways.stop()
    } catch {
      Output.complain("forebay simulate-gateways: \(error)")
      throw ExitCode(2)
    }
  }

  /// A reader sees nothing or all of it.
  private func write(_ text: String, to path: String) throws {
    let fresh = path + ".new"
    guard let file = fopen(fresh, "w") else {
      throw UnusableInput(place: path, reason: "cannot be written: \(String(cString: strerror(errno)))")
    }
    let isWritten = fputs(text, file) >= 0
    guard fclose(file) == 0, isWritten, rename(fresh, path) == 0 else {
      throw UnusableInput(place: path, reason: "cannot be written: \(String(cString: strerror(errno)))")
    }
  }
}
