internal import ArgumentParser
internal import Glibc
internal import Pipeline
internal import Spool

/// How one version of a contract follows another.
struct ContractSuccession {
  var old: ContractFile
  var new: ContractFile
  var mode: SchemaCompatibility.Mode
  var reasons: [Incompatibility]

  init(_ old: ContractFile, _ new: ContractFile, mode: SchemaCompatibility.Mode) throws(SchemaError) {
    self.old = old
    self.new = new
    self.mode = mode
    reasons = try SchemaCompatibility.check(old: old.schema, new: new.schema, mode: mode)
  }

  var isCompatible: Bool { reasons.isEmpty }

  /// What is wrong, a line for each reason, and the verdict.
  var report: String {
    var lines = reasons.map { reason in
      let direction = reason.direction == .backward ? "old readings, new version" : "new readings, old version"
      return "  \(direction): \(reason)"
    }
    lines.append(
      isCompatible
        ? "\(new.id) is \(mode.rawValue) compatible with \(old.id): \(mode.meaning)"
        : "\(new.id) is not \(mode.rawValue) compatible with \(old.id), for "
          + Output.count(Int64(reasons.count), "reason"))
    return lines.joined(separator: "\n")
  }

  var json: String {
    CompactJSON.object { json in
      json.add("old", old.id.description)
      json.add("new", new.id.description)
      json.add("mode", mode.rawValue)
      json.add("compatible", isCompatible)
      json.add(
        "reasons",
        raw: CompactJSON.array(
          reasons.map { reason in
            CompactJSON.object { json in
              json.add("direction", reason.direction == .backward ? "backward" : "forward")
              json.add("kind", reason.kind.word)
              json.add("location", reason.location)
              json.add("reason", reason.reason)
            }
          }))
    }
  }
}

extension SchemaCompatibility.Mode {
  /// In a sentence.
  var meaning: String {
    switch self {
    case .backward: "readers of the new version understand readings of the old one"
    case .forward: "readers of the old version understand readings of the new one"
    case .full: "readers of either version understand readings of the other"
    }
  }
}

extension Incompatibility.Kind {
  fileprivate var word: String {
    switch self {
    case .narrowed: "narrowed"
    case .undescribed: "undescribed"
    case .undecided: "undecided"
    }
  }
}

extension SchemaCompatibility.Mode: ExpressibleByArgument {}

extension ContractFolder {
  /// The newest registered version below one, which a new version is compared with.
  func predecessor(of id: ContractID) throws(Fault) -> ContractFile? {
    guard let before = try registered().last(where: { $0.name == id.name && $0.version < id.version }) else {
      return nil
    }
    return try load(before)
  }
}

extension SchemaCommand {
  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check a contract, and whether it is compatible with the version before.",
      discussion: """
        With one file: whether it is valid, and whether it keeps what its own 'compatibility' promises \
        to the newest registered version below its own. With two: whether the second is compatible with \
        the first, which need not be registered.

        backward: readers of the new version understand readings of the old one. forward: the other way \
        round. full: both. A pipeline with a contract is a reader: after a change that is not backward \
        compatible, devices with old firmware end in the dead letters.

        EXAMPLES:
          forebay schema check climate.json
          forebay schema check climate@1.2.0.json climate@1.3.0.json --mode full

        EXIT STATUS: 0 valid and compatible; 1 not; 2 a file cannot be read; 64 wrong usage.
        """)

    @Argument(help: ArgumentHelp("A contract file; or the old one and the new one.", valueName: "file"))
    var paths: [String]
    @Option(help: "What must hold; what the new version's file says unless named.")
    var mode: SchemaCompatibility.Mode?
    @OptionGroup var place: ContractPlace
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws {
      guard (1...2).contains(paths.count) else { throw ValidationError("one file, or the old one and the new one") }
    }

    func run() throws {
      try onContracts(json: json) {
        let new = try ContractFolder.load(place.absolute(paths[paths.count - 1])).file
        let old =
          paths.count == 2
          ? try ContractFolder.load(place.absolute(paths[0])).file : try place.contracts().predecessor(of: new.id)
        // Two files that are named are compared, whatever the new one promises.
        let mode = mode ?? new.compatibility.mode ?? (paths.count == 2 ? .backward : nil)
        var succession: ContractSuccession?
        if let old, let mode { succession = try ContractSuccession(old, new, mode: mode) }
        let isAccepted = succession?.isCompatible ?? true
        if json {
          StandardStream.output.write(
            line: CompactJSON.object { json in
              json.add("accepted", isAccepted)
              json.add("contract", new.id.description)
              json.add("expectations", new.contract.expectations.count)
              if let succession { json.add("compatibility", raw: succession.json) }
            })
        } else {
          StandardStream.output.write(line: text(new, old, succession))
        }
        if !isAccepted { throw ExitCode(1) }
      }
    }

    private func text(_ new: ContractFile, _ old: ContractFile?, _ succession: ContractSuccession?) -> String {
      let expectations = Output.count(Int64(new.contract.expectations.count), "expectation")
      var text = "\(new.id) is valid, with \(expectations)\n"
      if let succession {
        text += succession.report
      } else if let old {
        text += "not compared with \(old.id): its 'compatibility' is none"
      } else {
        text += "no version below it is registered to compare it with"
      }
      return text
    }
  }

  struct Register: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Put a contract into the folder from which pipelines take theirs.",
      discussion: """
        Refused are a file that is not valid, a version that is registered with other content or is not \
        above the newest, and one that does not keep what its 'compatibility' promises to the newest. \
        What is registered is never changed: a running pipeline's version rests on it.

        EXAMPLES:
          forebay schema register climate.json
          forebay schema register climate.json --folder ./contracts

        EXIT STATUS: 0 registered, also when it was before; 1 refused; 2 a file cannot be read or \
        written; 64 wrong usage.
        """)

    @Argument(help: ArgumentHelp("The contract file.", valueName: "file")) var path: String
    @OptionGroup var place: ContractPlace
    @Flag(help: "Print one JSON object.") var json = false

    func run() throws {
      try onContracts(json: json) {
        let (file, bytes) = try ContractFolder.load(place.absolute(path))
        let folder = place.contracts()
        let target = folder.path(of: file.id)
        let registered = try folder.registered().filter { $0.name == file.id.name }
        if registered.contains(file.id) {
          let present = try ContractFolder.load(target)
          guard present.bytes == bytes else {
            throw refusal(" \(file.id) is registered with other content, and is never changed; give it a new version")
          }
        } else {
          if let newest = registered.last {
            guard newest < file.id else {
              throw refusal(" \(newest) is registered; a new version must be above it")
            }
            try check(file, after: try folder.load(newest))
          }
          // Its parent is there, where the configuration is.
          _ = mkdir(folder.path, 0o755)
          // Anybody may read it: the daemon's user must.
          try FileSystem.replace(target, with: bytes, mode: 0o644)
        }
        tell(file, at: target, wasThere: registered.contains(file.id))
      }
    }

    private func refusal(_ reason: String) -> ContractFolder.Fault {
      ContractFolder.Fault(path: place.absolute(path), isUnreadable: false, reasons: [reason])
    }

    private func check(_ new: ContractFile, after old: ContractFile) throws {
      guard let mode = new.compatibility.mode else { return }
      let succession = try ContractSuccession(old, new, mode: mode)
      guard !succession.isCompatible else { return }
      let hint = "readers must know: take a new major version with \"compatibility\": \"none\""
      throw ContractFolder.Fault(
        path: place.absolute(path), isUnreadable: false,
        reasons: (succession.report + "; " + hint).split(separator: "\n").map { " \($0.drop { $0 == " " })" })
    }

    /// What to do about it.
    private func next(for file: ContractFile, _ users: [String]) -> String {
      guard users.isEmpty else {
        return "the pipelines that take it (\(users.joined(separator: ", "))) do so after the next reload: "
          + "systemctl reload forebay"
      }
      return "no pipeline of \(place.config) takes it; one does with "
        + "'contract: \(file.id.name)@\(file.id.version.major)'"
    }

    private func tell(_ file: ContractFile, at target: String, wasThere: Bool) {
      let users = place.users()[file.id] ?? []
      if json {
        StandardStream.output.write(
          line: CompactJSON.object { json in
            json.add("accepted", true)
            json.add("contract", file.id.description)
            json.add("file", target)
            json.add("changed", !wasThere)
            json.add("pipelines", raw: CompactJSON.array(users.map { CompactJSON.quoted($0) }))
          })
        return
      }
      StandardStream.output.write(line: "\(file.id) is registered\(wasThere ? " already" : ""): \(target)")
      StandardStream.output.write(line: next(for: file, users))
    }
  }
}
