internal import Glibc
internal import Synchronization
package import Telemetry

// The spool's folder:
//
//   log.db            the raw log (LogStore.swift)
//   state.db          checkpoints, outbox, dead letters, ledger (StateSchema.swift)
//   mirror.json       the marks that survive the loss of state.db or of the log's end (Mirror.swift)
//   lock              held by the daemon while it runs (flock)
//   ballast           space that is given back when the disk is full, so that deleting still works
//   quarantine/       damaged files, whole, with the reason beside them
//   *.damaged, *.new  a database that is being rebuilt (Damage.swift)
//   *.format-N        a database as it was before its format changed (FormatCopy.swift)
//   restore.new/, restoring, replaced-*/   a restore: what it has built, how far it has come, and what was there
//                     before (Restoration.swift)

/// Who and where this gateway is, for the binding of the state to the machine.
package struct Machine: Sendable, Hashable {
  /// /etc/machine-id, or what stands for it.
  package var id: String

  package init(id: String) { self.id = id }
}

/// The durable queue: both databases, opened, checked against each other, and bound to this machine.
package final class Spool: Sendable {
  package let settings: SpoolSettings
  package let log: LogStore
  package let state: StateStore
  package let space: Space
  package let ballast: Ballast
  private let machine: Machine
  private let formats: SpoolFormats
  private let lock: Int32
  private let damage: Damage
  /// The marks as they stood when the spool was opened.
  private let opened: Mirror?
  /// Of databases as they were before an upgrade.
  private let copies: Mutex<[FormatCopy]>
  /// As it was last written.
  private let written = Mutex<Mirror?>(nil)
  private let onDamage = Mutex<(@Sendable (String) -> Void)?>(nil)
  /// What was found and done at opening, for the log and for alarms.
  package let findings: [String]

  package static func logPath(_ directory: String) -> String { directory + "/log.db" }
  package static func statePath(_ directory: String) -> String { directory + "/state.db" }
  package static func mirrorPath(_ directory: String) -> String { directory + "/mirror.json" }

  /// Opens the spool, or begins one.
  ///
  /// A damaged database is set aside whole and rebuilt from what can be read of it. So this succeeds on
  /// any content; it throws for a failing disk, one that stays full though the ballast is given up,
  /// missing permissions, a file of a newer version, and when another daemon runs.
  /// Databases of an older format are brought forward (FormatUpgrade.swift).
  /// - Parameters:
  ///   - report: is told what takes long, again and again while it goes on.
  ///   - random: draws epochs and log ids.
  package static func open(
    _ settings: SpoolSettings, machine: Machine, now: Moment, report: (String) -> Void = { _ in },
    random: () -> UInt64
  ) throws(SpoolError) -> Spool {
    let upgrade = FormatUpgrade(directory: settings.directory)
    return try withoutActuallyEscaping(report) { report throws(SpoolError) in
      var upgrade = upgrade
      upgrade.report = report
      return try open(settings, machine: machine, now: now, upgrade: upgrade, random: random)
    }
  }

  static func open(
    _ settings: SpoolSettings, machine: Machine, now: Moment, upgrade: FormatUpgrade, random: () -> UInt64
  ) throws(SpoolError) -> Spool {
    let directory = settings.directory
    try FileSystem.makeDirectory(directory)
    let ballast = Ballast(directory: directory)
    let lock: Int32
    do throws(SpoolError) {
      lock = try takeLock(directory + "/lock")
    } catch  where error.kind == .full {
      ballast.release()
      lock = try takeLock(directory + "/lock")
    }
    do throws(SpoolError) {
      // What a power cut left of a restore that was as good as done.
      try Restoration.finish(in: directory)
      // Before anything that gives up the ballast, or writes into a newer version's files.
      let upgraded = try upgrade.run(now: now)
      // A few attempts, for each may find something else in the way.
      var attempts = 0
      while true {
        attempts += 1
        do throws(SpoolError) {
          return try Spool(
            settings, machine: machine, now: now, lock: lock, formats: upgrade.formats, upgraded: upgraded,
            random: random)
        } catch  where attempts < 4 {
          switch error.kind {
          // SQLite needs room beside a database to open it, and reports some of its want of room as an
          // input/output error.
          case .full, .io: ballast.release()
          // Damage that showed only now is rebuilt by the next attempt.
          case .damaged:
            let damage = Damage(directory: directory)
            guard let database = damage.database(at: error.path) else { throw error }
            _ = try damage.note(database, reason: "\(error)", wall: now.wall)
          default: throw error
          }
        }
      }
    } catch {
      Glibc.close(lock)
      throw error
    }
  }

  private init(
    _ settings: SpoolSettings, machine: Machine, now: Moment, lock: Int32, formats: SpoolFormats, upgraded: [String],
    random: () -> UInt64
  ) throws(SpoolError) {
    let directory = settings.directory
    let damage = Damage(directory: directory)
    let mirrored = Mirror.read(Spool.mirrorPath(directory))
    var findings = upgraded
    let state = try Spool.openState(
      damage, formats, mirrored: mirrored, wall: now.wall, random: random, findings: &findings)
    let log = try Spool.openLog(
      damage, formats.log, mirrored: mirrored, state: state, wall: now.wall, random: random, findings: &findings)

    try state.follow(log.names)
    if let mirrored, log.names.contains(mirrored.log) {
      let missing = try log.raise(to: Offset(mirrored.next))
      if missing > 0 {
        findings.append("log.db had lost its end: \(missing) messages; it goes on at offset \(mirrored.next)")
      }
    }
    if let furthest = try state.furthestCheckpoint(in: log.id) {
      let missing = try log.raise(to: furthest)
      if missing > 0 {
        findings.append("log.db ended before a checkpoint; the log goes on at offset \(furthest)")
      }
    }
    let file = FileSystem.identity(Spool.statePath(directory)) ?? ""
    let move = try state.move(to: machine, file: file, mirrored: mirrored?.machine)
    if move != nil {
      let sources = try state.clientIDs().keys.sorted()
      try log.rename(to: LogID(rawValue: Epoch(random: random()).rawValue), sources: sources)
      try state.follow(log.names)
    }
    let end = try log.end()
    try state.bind(to: machine, file: file, move, end: end, wall: now.wall, random: random)
    if let move {
      findings.append(
        "\(move.reason): new epochs\(move.takesOver ? "" : " and new client ids") were drawn, and the log goes on "
          + "as \(end.log) from offset \(end.next) on")
    } else if let mirrored, log.names.contains(mirrored.log) {
      if let older = try state.compare(
        with: mirrored.pipelines, end: end, wall: now.wall, random: random)
      {
        findings.append("\(older): new epochs were drawn")
      }
    }
    if let mirrored, mirrored.machine == machine.id, move == nil {
      for (source, client) in mirrored.clients { try state.adopt(clientID: client, source: source) }
    }

    self.settings = settings
    self.machine = machine
    self.formats = formats
    copies = Mutex(FormatCopy.all(in: directory))
    self.lock = lock
    self.damage = damage
    self.opened = mirrored.flatMap { log.names.contains($0.log) ? $0 : nil }
    self.findings = findings
    self.log = log
    self.state = state
    space = Space(settings)
    ballast = Ballast(directory: directory)
    ballast.take()
    for finding in findings {
      try? state.book(
        StateStore.Fault(wall: now.wall, kind: "opening", detail: finding, messages: 0))
    }
    // The old one has the log's old name, and what it says of the old machine is no use any more.
    if move != nil { try? mirror() }
  }

  private static func openState(
    _ damage: Damage, _ formats: SpoolFormats, mirrored: Mirror?, wall: Int64, random: () -> UInt64,
    findings: inout [String]
  ) throws(SpoolError) -> StateStore {
    let path = damage.path(.state)
    var note = damage.noted(.state)
    if note == nil {
      do throws(SpoolError) {
        let state = try StateStore(path: path, format: formats.state)
        try state.verify()
        return state
      } catch  where error.kind == .damaged {
        note = try damage.note(.state, reason: "\(error)", wall: wall)
      }
    }
    if let note {
      try damage.setAside(.state, note)
      if !damage.isReplaced(.state, note) {
        damage.beginRebuilding(.state)
        let log = try? LogReader(path: damage.path(.log), format: formats.log)
        let start = log.flatMap { log in (try? log.start()).map { (log: log.names, start: $0) } }
        let marks = mirrored.flatMap { start?.log.contains($0.log) == true ? $0.resumptions : nil } ?? [:]
        let outcome = try withoutActuallyEscaping(random) { random throws(SpoolError) in
          try StateSalvage(
            place: note.place, logStart: start, marks: marks, wall: wall, random: random, format: formats.state
          ).rebuild(into: damage.rebuilt(.state))
        }
        if outcome == .whole {
          try damage.putBack(.state, note)
        } else {
          try damage.replace(.state)
        }
        findings.append(outcome.text(note))
      }
      try damage.clear(.state)
    }
    return try StateStore(path: path, format: formats.state)
  }

  private static func openLog(
    _ damage: Damage, _ format: DatabaseFormat, mirrored: Mirror?, state: StateStore, wall: Int64, random: () -> UInt64,
    findings: inout [String]
  ) throws(SpoolError) -> LogStore {
    let path = damage.path(.log)
    let known = try state.highestCheckpoint()
    let floor = max(known, Offset(mirrored?.pipelines.values.map(\.checkpoint).max() ?? 0))
    let birth = (id: LogID(rawValue: Epoch(random: random()).rawValue), next: floor)
    var note = damage.noted(.log)
    if note == nil {
      do throws(SpoolError) {
        return try LogStore(path: path, birth: birth, format: format)
      } catch  where error.kind == .damaged {
        note = try damage.note(.log, reason: "\(error)", wall: wall)
      }
    }
    if let note {
      try damage.setAside(.log, note)
      if !damage.isReplaced(.log, note) {
        damage.beginRebuilding(.log)
        var estimate = try state.estimate()
        if let mirrored {
          let end = LogEstimate(
            log: LogID(rawValue: mirrored.log), next: Offset(mirrored.next), received: mirrored.received)
          estimate = estimate.map { $0.log == end.log ? end.reaching($0.next) : $0 } ?? end
        }
        let unread = try state.lowestCheckpoint() ?? known
        let outcome = try LogSalvage(place: note.place, estimate: estimate, unread: unread, format: format)
          .rebuild(into: damage.rebuilt(.log))
        switch outcome {
        case .whole: try damage.putBack(.log, note)
        case .rebuilt: try damage.replace(.log)
        case .nameless: damage.beginRebuilding(.log)
        }
        findings.append(outcome.text(note))
      }
      try damage.clear(.log)
    }
    return try LogStore(path: path, birth: birth, format: format)
  }

  deinit {
    Glibc.close(lock)
  }

  static func takeLock(_ path: String) throws(SpoolError) -> Int32 {
    let file = Glibc.open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o640)
    guard file >= 0 else { throw FileSystem.failure("open", path) }
    guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
      let error =
        errno == EWOULDBLOCK
        ? SpoolError(
          kind: .busy, operation: "lock", path: path, cause: "another forebay runs on this spool",
          hint: "stop it first, or give this one a spool.directory of its own")
        : FileSystem.failure("lock", path)
      Glibc.close(file)
      throw error
    }
    return file
  }

  /// See ``StateStore/register(_:configuration:gateway:log:resuming:wall:drawing:)``.
  package func register(
    _ registrations: [PipelineRegistration], configuration: [UInt8], gateway: String, wall: Int64,
    random: () -> UInt64
  ) throws(SpoolError) -> StateStore.Registered {
    try state.register(
      registrations, configuration: configuration, gateway: gateway, log: try reader(),
      resuming: opened?.resumptions ?? [:], wall: wall, drawing: { Epoch(random: random()) })
  }

  package func reader() throws(SpoolError) -> LogReader {
    try LogReader(path: Spool.logPath(settings.directory), format: formats.log)
  }

  /// Writes the marks to the mirror, if they have changed.
  package func mirror() throws(SpoolError) {
    let pipelines = try state.marks(of: log.names)
    // After the marks: a log's end that lies before a checkpoint would be no end.
    let end = try log.end()
    let mirror = Mirror(
      machine: machine.id, log: log.id.rawValue, next: end.next.rawValue, received: end.received,
      pipelines: pipelines, clients: try state.clientIDs())
    guard written.withLock({ $0 }) != mirror else { return }
    try mirror.write(Spool.mirrorPath(settings.directory))
    written.withLock { $0 = mirror }
  }

  /// Calls `body`, once, with a reason when a database turns out to be damaged while it is in use: the
  /// spool has to be opened anew then, which rebuilds it.
  package func onDamage(_ body: @escaping @Sendable (String) -> Void) {
    onDamage.withLock { $0 = body }
  }

  /// Looks at an error of this spool: one that tells of damage is noted for the next opening.
  package func examine(_ error: SpoolError, wall: Int64) {
    guard error.kind == .damaged, let database = damage.database(at: error.path) else { return }
    guard (try? damage.note(database, reason: "\(error)", wall: wall)) != nil else { return }
    let report = onDamage.withLock { body in
      defer { body = nil }
      return body
    }
    report?("\(error)")
  }

  /// Bytes that both databases use.
  package func usedBytes() throws(SpoolError) -> Int64 {
    try log.usedBytes() + (try state.usedBytes())
  }

  /// Nanoseconds for which it is known where a batch came from after it was delivered: a month of questions from
  /// upstream; longer where the raw messages are kept longer.
  private static let lineageAge: Int64 = 31 * 24 * 3_600_000_000_000
  /// The share of the spool's bytes (1 in so many) that lineage may take: a million batches of the default 8 GiB.
  private static let lineageShare: Int64 = 64

  /// Bytes below which giving them back is not worth the writing.
  private static let worthTruncating: Int64 = 1 << 20

  /// Deletes what the replay window no longer holds, more when space is short, and gives the room back to
  /// the disk. On a full disk the ballast goes first, and a step that fails for want of room does not keep
  /// the next one from making some.
  /// - Returns: how many blocks went.
  @discardableResult
  package func retain(now: Moment) throws(SpoolError) -> Int {
    let short = space.isShort
    giveUpCopies(now: now)
    var full: SpoolError?
    func attempt(_ step: () throws(SpoolError) -> Void) throws(SpoolError) {
      do throws(SpoolError) {
        do throws(SpoolError) {
          try step()
        } catch  where error.kind == .full {
          ballast.release()
          try step()
        }
      } catch  where error.kind == .full {
        full = error
      }
    }
    func truncate() throws(SpoolError) {
      guard short else { return }
      try attempt { () throws(SpoolError) in try state.truncateLog(above: Spool.worthTruncating) }
      try attempt { () throws(SpoolError) in try log.truncateLog(above: Spool.worthTruncating) }
    }
    // Before, for the deleting needs room of its own; and after, for only this shortens the files.
    try truncate()
    var deleted = 0
    // What a replay has yet to read is kept, but not when space is short: it books what it does not find.
    if let passed = try state.lowestCheckpoint(withReplays: !short) {
      try attempt { () throws(SpoolError) in
        deleted = try log.retain(
          passed: passed, now: now.wall, keepAge: settings.keepAge,
          keepBytes: short ? 0 : settings.keepBytes,
          inDoubt: max(settings.inDoubt, InDoubtTail.messagesLeft),
          inDoubtBytes: short ? 0 : settings.maximumBytes / 16, limit: short ? 256 : 64)
      }
    }
    try attempt { () throws(SpoolError) in
      try state.retainLineage(
        now: now.wall, age: max(Spool.lineageAge, settings.keepAge), bytes: settings.maximumBytes / Spool.lineageShare)
    }
    for vacuum in [state.vacuum, log.vacuum] {
      try attempt { () throws(SpoolError) in try vacuum(short ? 64 : 512, short ? 16 : 1) }
    }
    try truncate()
    if let full, deleted == 0 { throw full }
    return deleted
  }

  /// Deletes copies from before an upgrade whose time is over, or that keep the disk from having what is to stay free.
  private func giveUpCopies(now: Moment) {
    let figures = space.figures
    copies.withLock { copies in
      copies.removeAll { copy in
        let isShort = figures.free < figures.minimumFree
        guard isShort || copy.isOld(now: now) else { return false }
        copy.remove()
        if isShort {
          try? state.book(
            StateStore.Fault(
              wall: now.wall, kind: "format-copy", detail: "\(copy.name) was deleted for want of room on the disk",
              messages: 0))
        }
        return true
      }
    }
  }

  package func close() {
    log.close()
    state.close()
  }
}

extension StateSalvage.Outcome {
  fileprivate func text(_ note: Damage.Note) -> String {
    switch self {
    case .whole: "state.db was reported damaged, but all of it can be read: it goes on (\(note.reason))"
    case .rebuilt(let batches, let deadLetters, let missing, let wasCut):
      "state.db was damaged and lies in \(note.place); pipelines begin again at the mirrored marks; "
        + "\(batches) batches and \(deadLetters) dead letters were kept from it"
        + (missing > 0 ? ", \(missing) readings could not be read" : "")
        + (wasCut ? ", until the disk was full" : "")
    }
  }
}

extension LogSalvage.Outcome {
  fileprivate func text(_ note: Damage.Note) -> String {
    switch self {
    case .whole: "log.db was reported damaged, but all of it can be read: it goes on (\(note.reason))"
    case .rebuilt(let blocks, let messages, let wasCut):
      "log.db was damaged and lies in \(note.place); \(messages) messages in \(blocks) blocks were kept "
        + "from it" + (wasCut ? ", until the disk was full" : "")
    case .nameless: "log.db was damaged and lies in \(note.place); nothing of it could be read"
    }
  }
}
