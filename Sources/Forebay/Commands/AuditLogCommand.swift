internal import ArgumentParser
internal import Glibc
internal import Pipeline
internal import Status

struct AuditLogCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit-log",
    abstract: "Show what operators did, and check that nobody has changed the record.",
    discussion: """
      Every action that changes something, over the HTTP API or by a command on this machine, is \
      written down before it is begun and when it is over: who, in what role, what, and what came of \
      it. Each entry carries the SHA-256 of the one before. The file is audit-log.jsonl in the spool's \
      folder; the older entries are in audit-log.1.jsonl.

      What 'verify' prints as the head is the digest of the newest entry. Kept elsewhere, it proves \
      later that nothing before it was changed or cut off at the end.

      EXAMPLES:
        forebay audit-log show
        forebay audit-log show --limit 1000 --json
        forebay audit-log verify

      EXIT STATUS: 0 shown, or sound; 1 the record was changed; 2 it cannot be read; 64 wrong usage.
      """,
    subcommands: [Show.self, Verify.self], defaultSubcommand: Show.self)

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show the newest entries, the newest last.")

    @OptionGroup var place: SpoolPlace
    @Option(help: "Show at most so many.") var limit = 50
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
      if !(1...100_000).contains(limit) { throw ValidationError("--limit takes a number from 1 to 100000") }
    }

    func run() throws {
      try orComplain("audit-log") {
        let entries = try AuditLog(directory: try place.directory()).entries(limit: limit).reversed()
        if json { return print(try Output.json(Array(entries))) }
        print(
          entries.isEmpty
            ? "no entries"
            : Output.table(
              ["NUMBER", "TIME", "WHO", "ROLE", "VIA", "ACTION", "PARAMETERS", "RESULT"],
              entries.map { entry in
                [
                  String(entry.number), entry.time, Output.plain(entry.who), entry.role, entry.via, entry.action,
                  entry.parameters.sorted { $0.key < $1.key }.map { "\($0.key)=\(Output.plain($0.value))" }
                    .joined(separator: " "),
                  (entry.begun.map { "of \($0): " } ?? "") + entry.result,
                ]
              }))
      }
    }
  }

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Check that each entry is tied to the one before.")

    @OptionGroup var place: SpoolPlace
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
      var isSound: Bool
      var entries: Int64
      var first: Int64
      var head: String
      var torn: Int
      var faults: [String]
    }

    func run() throws {
      let found = try orComplain("audit-log") { try AuditLog(directory: try place.directory()).verify() }
      if json {
        print(
          try Output.json(
            Report(
              isSound: found.isSound, entries: found.entries, first: found.first, head: found.head, torn: found.torn,
              faults: found.faults)))
      } else {
        for fault in found.faults { print(fault) }
        if found.torn > 0 { print("\(Output.count(Int64(found.torn), "line")) torn off by a power cut") }
        if found.entries > 0, found.first > 1 { print("entries before \(found.first) are no longer kept") }
        print("entries: \(Output.grouped(found.entries)), head \(found.head)")
        print(found.isSound ? "The record is sound." : "THE RECORD WAS CHANGED.")
      }
      if !found.isSound { throw ExitCode(1) }
    }
  }
}

/// Who runs a command, for the audit log.
enum CommandUser {
  /// The user's name, and with sudo who called it.
  static var name: String {
    let own = getpwuid(getuid()).map { String(cString: $0.pointee.pw_name) } ?? "uid \(getuid())"
    guard let caller = getenv("SUDO_USER").map({ String(cString: $0) }), caller != own else { return own }
    return "\(caller) as \(own)"
  }
}

extension AuditLog {
  /// Writes down what a command does. On this machine its user could do it without us: where it cannot be written
  /// down, because the disk is full, that is said, and done all the same, for it may be what makes room.
  static func recordCommand<R>(
    in spool: String, _ action: String, _ parameters: [String: String?], result: (R) -> String,
    _ body: () throws -> R
  ) throws -> R {
    let record = AuditRecord(
      in: AuditLog(directory: spool), who: CommandUser.name, role: "local", via: "command", action: action,
      parameters: parameters.compactMapValues { $0 }, time: { RFC3339.text(SystemClock.wall()) })
    func orComplain<N>(_ write: () throws -> N) -> N? {
      do {
        return try write()
      } catch {
        Output.complain("forebay: this is not in the audit log: \(error)")
        return nil
      }
    }
    let begun = orComplain(record.begin)
    let outcome = Result(catching: body)
    orComplain { try record.end(begun: begun, outcome.map(result)) }
    return try outcome.get()
  }
}
