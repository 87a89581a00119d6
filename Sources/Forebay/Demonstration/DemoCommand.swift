internal import ArgumentParser
internal import Glibc

struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "Watch the whole way at work: devices, broker, daemon, upstream.",
    discussion: """
      Starts a private mosquitto, the reference upstream, the daemon and simulated devices, all on free \
      ports of 127.0.0.1 and in one folder, and shows what flows. Ctrl-C stops the devices, lets the \
      daemon deliver what it has, stops everything and prints the audit and the upstream's verdict.

      While it runs, stop and start any part of it by its process id (shown at the start), for example \
      kill -9 the daemon or the upstream: it is started again at once, and the books still balance.

      EXAMPLES:
        forebay demo
        forebay demo --data ../shared/data/nab --devices 200 --rate 50
        forebay demo --seconds 20 --folder /tmp/look

      EXIT STATUS: 0 the books balance and the upstream's chain is whole; 1 they do not; 2 something \
      could not be started.
      """)

  @Option(help: ArgumentHelp("Real rows to play: a CSV file or a folder of them.", valueName: "path"))
  var data: String?
  @Option(help: "Simulated devices.") var devices = 70
  @Option(help: "Messages per second of each device.") var rate = 10
  @Option(help: ArgumentHelp("End by itself after so many seconds.", valueName: "n"))
  var seconds: Int?
  @Option(help: ArgumentHelp("Where everything lies; a new folder under /tmp otherwise.", valueName: "folder"))
  var folder: String?

  func validate() throws {
    guard (1...100_000).contains(devices) else { throw ValidationError("--devices: expected 1 to 100000.") }
    guard (1...1_000_000).contains(rate) else { throw ValidationError("--rate: expected 1 to 1000000.") }
    guard seconds ?? 1 >= 1 else { throw ValidationError("--seconds: expected at least 1.") }
  }

  func run() throws {
    do {
      let demonstration = try Demonstration(
        folder: folder, data: data, devices: devices, rate: rate)
      let balanced = try demonstration.run(seconds: seconds)
      if !balanced { throw ExitCode(1) }
    } catch let failure as Program.Failure {
      Output.complain("forebay demo: \(failure)")
      throw ExitCode(2)
    }
  }
}
