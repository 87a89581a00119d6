internal import ArgumentParser
internal import Glibc
internal import Pipeline
internal import Spool
internal import Status

struct RestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Bring a backup back, on this gateway or on another.",
    discussion: """
      Verifies the whole backup before anything is changed, and puts it in place so that a power cut leaves \
      either what was there or all of the backup. The daemon must be stopped.

      What is restored is a gateway of its own: at its first start it draws new epochs, and marks as possible \
      duplicates what the old one may have delivered after the backup. What the old one took in after the \
      backup and had not delivered is lost with it.

      Without --take-over it draws new client ids as well, so that the old gateway may live on; what the broker \
      keeps for the old client ids then waits for the old gateway. With --take-over the client ids are kept, and \
      the broker hands over what it kept: the old gateway must never be started again.

      EXAMPLES:
        forebay restore /media/usb/gateway-1.tar
        forebay restore /media/usb/gateway-1.tar --take-over
        forebay restore /media/usb/gateway-1.tar --replace --take-over

      EXIT STATUS: 0 restored; 1 it is no whole backup, nothing was changed; 2 it could not be restored; \
      64 wrong usage.
      """)

  @OptionGroup var place: SpoolPlace
  @Argument(help: ArgumentHelp("The backup.", valueName: "file")) var file: String
  @Flag(help: "The old gateway is gone for good: go on under its client ids.") var takeOver = false
  @Flag(help: "Move a spool that is there aside.") var replace = false
  @Flag(help: "Print what was done as JSON.") var json = false

  func run() throws {
    try orComplainOfBackup("restore") {
      let directory = try place.directory()
      var order = Backup.Order(path: file, directory: directory)
      order.takesOver = takeOver
      order.replaces = replace
      let shown = ShownProgress("restore")
      let restored = try Backup.restore(order, wall: SystemClock.wall(), progress: shown.show) { folder in
        record(folder)
      }
      let report = RestoreReport(restored, directory: directory, takesOver: takeOver)
      print(json ? try Output.json(report) : report.text)
    }
  }

  /// The audit log of the backup goes on with who restored it.
  private func record(_ folder: String) {
    let record = AuditRecord(
      in: AuditLog(directory: folder), who: CommandUser.name, role: "local", via: "command", action: "restore",
      parameters: ["from": file, "takeOver": "\(takeOver)"], time: { RFC3339.text(SystemClock.wall()) })
    do {
      try record.end(begun: nil, .success("done"))
    } catch {
      Output.complain("forebay: this is not in the audit log: \(error)")
    }
    unlink(folder + "/audit-log.lock")
  }
}

/// What a restore has done, and what is left to do.
struct RestoreReport: Encodable, Sendable {
  var backup: BackupManifest
  var spool: String
  /// Where what was there before lies.
  var replaced: String?
  var takesOver: Bool
  var sources: [String]
  /// Where the configuration lay that ran, and what lies there now.
  var configuration: String?
  var configurationIs: String?
  /// Where the tokens were put, and where they belong.
  var tokens: String?
  var tokensBelong: String?

  init(_ restored: Restored, directory: String, takesOver: Bool, files: ConfigurationFiles = .system) {
    backup = restored.manifest
    spool = directory
    replaced = restored.replaced
    self.takesOver = takesOver
    sources = restored.sources
    if let kept = LastGoodConfiguration.copy(in: directory, files: files) {
      configuration = kept.path
      configurationIs =
        switch files.read(kept.path, YAMLParser.Limits().bytes) {
        case .success(let found): found.bytes == kept.bytes ? "the same" : "another one"
        case .failure: "not there"
        }
    }
    if let place = restored.manifest.tokens {
      tokens = "\(directory)/\(SpoolFiles.tokens)"
      tokensBelong = place
    }
  }

  var text: String {
    var lines = ["restored to \(spool): \(backup.text)"]
    if let replaced { lines.append("what was there before lies in \(replaced); delete it when nobody needs it") }
    lines.append(
      "at the first start new epochs are drawn, the log gets a new name from offset \(backup.log.next) on, and what the "
        + "old gateway may have delivered since the backup is marked as possible duplicates")
    let names = sources.map { Output.plain($0) }.joined(separator: ", ")
    if takesOver {
      lines.append(
        "the client ids are kept (\(names)): the brokers hand over what they kept. The old gateway must never be "
          + "started again")
    } else if !sources.isEmpty {
      lines.append(
        "new client ids are drawn (\(names)): what the brokers keep for the old ones waits for the old gateway. If that "
          + "is gone for good, restore with --take-over instead, before the first start")
    }
    if let configuration, let configurationIs, configurationIs != "the same" {
      lines.append(
        "the configuration that ran is \(spool)/\(LastGoodConfiguration.fileName); what lies at \(Output.plain(configuration)) is "
          + "\(configurationIs): put it back before the start")
    }
    if let tokens, let tokensBelong {
      lines.append("the tokens of the API are in \(tokens); they belong to \(Output.plain(tokensBelong))")
    }
    return lines.joined(separator: "\n")
  }
}
