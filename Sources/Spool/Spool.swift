internal import Glibc
internal import Synchronization
package import Telemetry

// The spool's folder:
//
//   log.db            the raw log (LogStore.swift)
//   state.db          checkpoints, outbox, dead letters, ledger (StateSchema.swift)
//   mirror.json       the marks that survive the loss of state.db (Mirror.swift)
//   lock              held by the daemon while it runs (flock)
//   ballast           space that is given back when the disk is full, so that deleting still works
//   quarantine/       damaged files, whole, with the reason beside them

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
  private let lock: Int32
  /// The marks as they stood when the spool was opened.
  private let mirrored: Mirror?
  /// What was found and done at opening, for the log and for alarms.
  package let findings: [String]

  package static func logPath(_ directory: String) -> String { directory + "/log.db" }
  package static func statePath(_ directory: String) -> String { directory + "/state.db" }
  package static func mirrorPath(_ directory: String) -> String { directory + "/mirror.json" }

  /// Opens the spool, or begins one.
  ///
  /// A damaged database is set aside whole; what can be read of a log is carried over, and a lost
  /// state begins again at the mirrored marks. So this succeeds on any content; it throws for a full
  /// or failing disk, missing permissions, a file of a newer version, and when another daemon runs.
  /// - Parameter random: draws epochs and log ids.
  package static func open(
    _ settings: SpoolSettings, machine: Machine, now: Moment, random: () -> UInt64
  ) throws(SpoolError) -> Spool {
    let directory = settings.directory
    try FileSystem.makeDirectory(directory)
    let lock = try takeLock(directory + "/lock")
    do throws(SpoolError) {
      return try Spool(settings, machine: machine, now: now, lock: lock, random: random)
    } catch {
      Glibc.close(lock)
      throw error
    }
  }

  private init(
    _ settings: SpoolSettings, machine: Machine, now: Moment, lock: Int32, random: () -> UInt64
  ) throws(SpoolError) {
    let directory = settings.directory
    let salvage = Salvage(directory: directory, wall: now.wall)
    var findings: [String] = []
    let mirrored = Mirror.read(Spool.mirrorPath(directory))

    let statePath = Spool.statePath(directory)
    let state: StateStore
    do throws(SpoolError) {
      state = try StateStore(path: statePath)
    } catch  where error.kind == .damaged {
      let place = try salvage.setAside(statePath, reason: error)
      findings.append("state.db was damaged and lies in \(place); it begins again at the mirrored marks")
      state = try StateStore(path: statePath)
    }

    let logPath = Spool.logPath(directory)
    let floor = max(
      try state.highestCheckpoint(), Offset(mirrored?.pipelines.values.map(\.checkpoint).max() ?? 0))
    let birth = (id: LogID(rawValue: Epoch(random: random()).rawValue), next: floor)
    let log: LogStore
    do throws(SpoolError) {
      log = try LogStore(path: logPath, birth: birth)
    } catch  where error.kind == .damaged {
      let place = try salvage.setAside(logPath, reason: error)
      let rescued = try salvage.copyLog(from: place, to: logPath)
      findings.append(
        "log.db was damaged and lies in \(place); "
          + (rescued.map { "\($0.messages) messages in \($0.blocks) blocks were saved from it" }
            ?? "nothing of it could be read"))
      log = try LogStore(path: logPath, birth: birth)
    }

    try state.bind(
      to: machine, file: FileSystem.identity(statePath) ?? "", end: try log.end(), wall: now.wall,
      random: random, findings: &findings)
    if let raised = try state.reconcile(with: try log.end(), wall: now.wall) {
      try log.raiseNext(to: raised)
      findings.append("log.db ended before a checkpoint; the log goes on at offset \(raised)")
    }
    if let mirrored, mirrored.machine == machine.id {
      for (source, client) in mirrored.clients { try state.adopt(clientID: client, source: source) }
    }

    self.settings = settings
    self.machine = machine
    self.lock = lock
    self.mirrored = mirrored?.log == log.id.rawValue ? mirrored : nil
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
  }

  deinit {
    Glibc.close(lock)
  }

  private static func takeLock(_ path: String) throws(SpoolError) -> Int32 {
    let file = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
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

  /// See ``StateStore/register(_:gateway:log:delivered:wall:drawing:)``.
  package func register(
    _ registrations: [PipelineRegistration], gateway: String, wall: Int64, random: () -> UInt64
  ) throws(SpoolError) -> [String: PipelineState] {
    try state.register(
      registrations, gateway: gateway, log: try reader(), delivered: mirrored?.delivered ?? [:],
      wall: wall, drawing: { Epoch(random: random()) })
  }

  package func reader() throws(SpoolError) -> LogReader {
    try LogReader(path: Spool.logPath(settings.directory))
  }

  /// Writes the marks to the mirror.
  package func mirror() throws(SpoolError) {
    let marks = try state.marks().mapValues {
      Mirror.Marks(checkpoint: $0.checkpoint.rawValue, delivered: $0.delivered.rawValue)
    }
    try Mirror(
      machine: machine.id, log: log.id.rawValue, pipelines: marks, clients: try state.clientIDs()
    ).write(Spool.mirrorPath(settings.directory))
  }

  /// Bytes that both databases use.
  package func usedBytes() throws(SpoolError) -> Int64 {
    try log.usedBytes() + (try state.usedBytes())
  }

  /// Deletes what the replay window no longer holds; more when space is short.
  /// - Returns: how many blocks went.
  @discardableResult
  package func retain(now: Moment) throws(SpoolError) -> Int {
    guard let passed = try state.lowestCheckpoint() else { return 0 }
    let short = space.isShort
    let deleted = try log.retain(
      passed: passed, now: now.wall, keepAge: settings.keepAge,
      keepBytes: short ? 0 : settings.keepBytes, inDoubt: settings.inDoubt,
      inDoubtBytes: settings.maximumBytes / 16, limit: short ? 256 : 64)
    try state.shrink()
    return deleted
  }

  package func close() {
    log.close()
    state.close()
  }
}
