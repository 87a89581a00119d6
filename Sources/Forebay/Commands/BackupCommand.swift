internal import ArgumentParser
internal import Pipeline
internal import Spool
internal import Status

struct BackupCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup",
    abstract: "Copy everything that a gateway holds into one file, while it runs.",
    discussion: """
      The file is a tar archive with both databases as they stood at one moment, the configuration that ran, \
      the files that it refers to, the tokens' digests and the daemon's other small files, each with its size \
      and SHA-256 in a manifest. It holds payloads, and keys of masked fields: keep it as you keep the gateway. \
      Secrets that the configuration names by path, and certificates, are not in it.

      EXAMPLES:
        forebay backup --to /media/usb/gateway-1.tar
        forebay backup verify /media/usb/gateway-1.tar
        tar tf /media/usb/gateway-1.tar

      EXIT STATUS: 0 done; 1 verify: it is no whole backup; 2 it could not be made, or not be read; 64 wrong usage.
      """,
    subcommands: [Create.self, Verify.self], defaultSubcommand: Create.self)

  struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take a backup (the word may be left out).",
      discussion: """
        Beside a running daemon or without one; nothing waits for it. While it is made, the place needs room for \
        the backup and for a copy of the larger database. A file that has the name is replaced once the new one \
        is whole.

        EXAMPLES:
          forebay backup --to /media/usb/gateway-1.tar
        """)

    @OptionGroup var place: SpoolPlace
    @Option(help: ArgumentHelp("Where the backup goes: a place outside the spool.", valueName: "file"))
    var to: String
    @Flag(help: "Print what the backup holds as JSON.") var json = false

    func run() throws {
      try orComplain("backup") {
        let directory = try place.existing()
        let path = PathText.absolute(to, from: PathText.workingDirectory)
        var source = Backup.Source(directory: directory, version: Version.current)
        if let kept = LastGoodConfiguration.copy(in: directory, files: .system) {
          source.configuration = kept.path
          let decoded = try? Configuration.decode(
            kept, shownAs: kept.path, files: .system, toleratesSurroundings: true, toleratesAttachments: true)
          source.tokens = decoded?.status.api?.tokensFile
          if let decoded { source.minimumFree = decoded.spool.minimumFree }
        }
        let shown = ShownProgress("backup")
        let manifest = try AuditLog.recordCommand(
          in: directory, "backup", ["to": path], result: { "\($0.bytes) bytes" },
          { () throws -> BackupManifest in
            let wall = SystemClock.wall()
            return try Backup.write(source, to: path, wall: wall, time: RFC3339.text(wall), progress: shown.show)
          })
        print(json ? try Output.json(manifest) : "\(path): \(manifest.text)")
      }
    }
  }

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Read a backup from end to end and compare it with its manifest.",
      discussion: """
        EXAMPLES:
          forebay backup verify /media/usb/gateway-1.tar
        """)

    @Argument(help: ArgumentHelp("The backup.", valueName: "file")) var file: String
    @Flag(help: "Print what the backup holds as JSON.") var json = false

    func run() throws {
      try orComplainOfBackup("backup") {
        let manifest = try Backup.verify(file, progress: ShownProgress("verified").show)
        print(json ? try Output.json(manifest) : "\(file) is whole: \(manifest.text)")
      }
    }
  }
}

/// As ``orComplain(_:_:)``; a backup that is not whole, or too new, ends with status 1.
func orComplainOfBackup(_ command: String, _ body: () throws -> Void) throws {
  try orComplain(command) {
    do {
      try body()
    } catch let error as SpoolError where error.kind == .damaged || error.kind == .newer {
      Output.complain("forebay \(command): \(error)")
      throw ExitCode(1)
    }
  }
}

/// How far long work has come, on standard error where somebody looks at it.
final class ShownProgress {
  private let verb: String
  private let isWatched = StandardStream.error.isTerminal
  private var next: Int64

  /// Nanoseconds between two lines.
  private static let interval: Int64 = 2_000_000_000

  init(_ verb: String) {
    self.verb = verb
    next = SystemClock.monotonic() + ShownProgress.interval
  }

  func show(_ progress: Backup.Progress) {
    guard isWatched, progress.total > 0, SystemClock.monotonic() >= next else { return }
    next = SystemClock.monotonic() + ShownProgress.interval
    Output.complain("\(verb): \(progress.done / max(1, progress.total / 100)) % of \(Output.bytes(progress.total))")
  }
}

extension BackupManifest {
  /// For people, in some lines.
  var text: String {
    let active = pipelines.filter(\.active)
    let names = gateways.map { Output.plain($0) }.joined(separator: ", ")
    let lines = [
      "\(Output.bytes(bytes)) in \(Output.count(Int64(files.count), "file")), taken \(Output.plain(time)) by "
        + "Forebay \(Output.plain(forebay)) of \(names.isEmpty ? "a gateway without pipelines" : names)",
      "  log \(Output.plain(log.id)): offsets \(log.start) up to \(log.next), "
        + "\(Output.count(log.received, "message")) received",
    ]
    let readings = active.map {
      "  pipeline \(Output.plain($0.name)): read up to \($0.checkpoint), next batch \(Output.plain($0.epoch))/\($0.sequence)"
    }
    return (lines + readings + (balances ? [] : ["  THE BOOKS DID NOT BALANCE when it was taken: see forebay audit"]))
      .joined(separator: "\n")
  }
}
