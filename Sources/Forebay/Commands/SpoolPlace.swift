internal import ArgumentParser
internal import Glibc
internal import Spool

/// Which spool a command reads: named itself, or by the configuration.
struct SpoolPlace: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The configuration that names the spool.", valueName: "file"))
  var config = Configuration.defaultPath

  @Option(help: ArgumentHelp("The spool's folder, instead of the configuration's.", valueName: "folder"))
  var spool: String?

  /// Why a spool cannot be used, told before SQLite says it in its own words.
  struct Fault: Error, Sendable, Hashable, CustomStringConvertible {
    var path: String
    /// Of access(2).
    var code: Int32

    var description: String {
      switch code {
      case ENOENT, ENOTDIR: "\(path): there is no spool here; --spool or --config names another"
      case EACCES, EPERM, EROFS:
        "\(path): \(ConfigurationFiles.errorText(code)): the spool is for the user that the daemon runs as; "
          + "try with sudo, or name another with --spool"
      default: "\(path): \(ConfigurationFiles.errorText(code)); --spool names another"
      }
    }
  }

  func directory() throws -> String {
    if let spool { return PathText.absolute(spool, from: PathText.workingDirectory) }
    do throws(ConfiguredPlaces.Fault) {
      let places = try ConfiguredPlaces.find(config: config)
      if let note = places.note { Output.complain("forebay: \(note)") }
      return places.spool
    } catch {
      Output.complain("forebay: \(error)")
      Output.complain("forebay: name the spool with --spool, or another configuration with --config")
      throw ExitCode(2)
    }
  }

  /// The socket of the daemon that has this spool, as far as anybody says where it is.
  func socket(of directory: String) -> String {
    let usual = directory + "/forebay.sock"
    if spool != nil { return usual }
    return (try? ConfiguredPlaces.find(config: config))?.socket ?? usual
  }

  /// The folder, in which both databases are and may be used.
  func existing() throws -> String {
    let directory = try directory()
    for path in [Spool.statePath(directory), Spool.logPath(directory)] {
      // Who reads a database in WAL mode writes, too: its shared memory.
      guard access(path, R_OK | W_OK) == 0 else { throw Fault(path: path, code: errno) }
    }
    return directory
  }

  func state() throws -> StateStore { try StateStore(path: Spool.statePath(try existing())) }

  func reader() throws -> LogReader { try LogReader(path: Spool.logPath(try existing())) }
}

/// Runs what a command does. What it throws besides an exit status is told, and ends it with status 2.
func orComplain<R>(_ command: String, _ body: () throws -> R) throws -> R {
  do {
    return try body()
  } catch let code as ExitCode {
    throw code
  } catch {
    Output.complain("forebay \(command): \(error)")
    throw ExitCode(2)
  }
}
