internal import ArgumentParser
internal import Spool

/// Which spool a command reads: named itself, or by the configuration.
struct SpoolPlace: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The configuration that names the spool.", valueName: "file"))
  var config = Configuration.defaultPath

  @Option(help: ArgumentHelp("The spool's folder, instead of the configuration's.", valueName: "folder"))
  var spool: String?

  func directory() throws -> String {
    if let spool { return spool }
    do {
      return try Configuration.load(path: config).spool.directory
    } catch {
      Output.complain("\(error)")
      Output.complain("forebay: name the spool with --spool, or mend the configuration")
      throw ExitCode(2)
    }
  }

  func state() throws -> StateStore {
    let path = Spool.statePath(try directory())
    guard StateStore.exists(at: path) else {
      Output.complain("forebay: \(path): there is no spool here (--spool or --config names another)")
      throw ExitCode(2)
    }
    return try StateStore(path: path)
  }

  func reader() throws -> LogReader {
    try LogReader(path: Spool.logPath(try directory()))
  }
}
