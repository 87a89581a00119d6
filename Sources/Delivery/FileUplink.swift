import Glibc
package import Logging
import NIOPosix
import Synchronization
package import Telemetry

/// Delivers into a directory: the embedded default. Each batch is there once, whatever happens.
///
/// Finished files appear by rename and hold the bodies of batches one after the other, as they are
/// compressed (both gzip and zstd allow that). They belong to whoever takes them.
package final class FileUplink: Uplink {
  private struct State {
    /// Nil: closed after an error, to be opened anew.
    var folders: [String: FileFolder] = [:]
    var lock: CInt?
    /// What finishes the open file of a pipeline when it is old enough.
    var timers: [String: Task<Void, Never>] = [:]
    var isShutDown = false
  }

  private let settings: UplinkSettings.File
  private let disk: DiskCalls
  private let wall: @Sendable () -> Int64
  private let logger: Logger
  private let state = Mutex(State())

  /// Opens what earlier runs have left, in the background.
  /// - Parameter wall: nanoseconds since 1970, for the names and ages of files.
  package convenience init(
    settings: UplinkSettings.File, logger: Logger = Logger(label: "delivery"),
    wall: @escaping @Sendable () -> Int64
  ) {
    self.init(settings: settings, disk: DiskCalls(), logger: logger, wall: wall)
  }

  /// - Parameter disk: with its faults, for tests; these do not want a log of them.
  init(
    settings: UplinkSettings.File, disk: DiskCalls,
    logger: Logger = Logger(label: "delivery", factory: { _ in SwiftLogNoOpLogHandler() }),
    wall: @escaping @Sendable () -> Int64
  ) {
    self.settings = settings
    self.disk = disk
    self.wall = wall
    self.logger = logger
    Task { [weak self] in await self?.openExisting() }
  }

  deinit {
    state.withLock { state in
      for task in state.timers.values { task.cancel() }
      for name in state.folders.keys { state.folders[name]?.close() }
      if let lock = state.lock { Glibc.close(lock) }
    }
  }

  package func send(
    _ batch: Batch, attempt: Int, wrote: @escaping @Sendable (Int) -> Void
  ) async -> Answer {
    await onThread { uplink in uplink.take(batch, wrote) }
      ?? .unreachable(Unreachable(.cancelled, "the uplink has been shut down"))
  }

  /// There are no secrets here.
  package func reload() async {}

  /// Finishes what is open, so that nothing lies hidden while the daemon is away.
  package func shutdown() async {
    _ = await onThread { uplink in uplink.close() }
  }

  // MARK: On the thread that may block

  private func onThread<R: Sendable>(_ body: @escaping @Sendable (FileUplink) -> R) async -> R? {
    try? await NIOThreadPool.singleton.runIfActive { body(self) }
  }

  private func take(_ batch: Batch, _ wrote: (Int) -> Void) -> Answer {
    state.withLock { state in
      guard !state.isShutDown else {
        return .unreachable(Unreachable(.cancelled, "the uplink has been shut down"))
      }
      do {
        let answer = try take(batch, &state, wrote)
        finishIfDue(batch.book, &state)
        return answer
      } catch let error as DiskError {
        state.folders[batch.book]?.close()
        state.folders[batch.book] = nil
        return .unreachable(Unreachable(error.isFull ? .diskFull : .disk, error.description))
      } catch {
        return .refused(status: 422, reason: "\(error)")
      }
    }
  }

  /// - Throws: ``DiskError``, ``SplittingError``.
  private func take(_ batch: Batch, _ state: inout State, _ wrote: (Int) -> Void) throws -> Answer {
    // A replay has files of its own: beside live batches in one file, every change would finish it.
    let pipeline = batch.book
    try lockDirectory(&state)
    var folder: FileFolder
    if let open = state.folders[pipeline] {
      folder = open
    } else {
      folder = try FileFolder(pipeline: pipeline, directory: settings.directory, disk: disk)
    }
    // Also after an error: so that whoever catches it can close the descriptors.
    defer { state.folders[pipeline] = folder }
    switch folder.verdict(on: batch) {
    case .has: break
    case .conflict(let held): return .identityConflict(held: held)
    case .lacking(let lines):
      if folder.isDue(settings, wall: wall()) { try folder.finish() }
      let body = try body(of: lines, in: batch)
      try folder.take(batch, lines: lines, body: body, wall: wall())
      wrote(body.count)
    }
    return .hasIt
  }

  /// The lines that are lacking: as a rule all of them, and then the body as it is.
  private func body(of lines: RangeSet<Int>, in batch: Batch) throws(SplittingError) -> [UInt8] {
    let held = batch.identity.part?.lines(of: Splitting.parent(of: batch).count) ?? 0..<batch.count
    if lines == RangeSet(held) { return batch.body }
    var body: [UInt8] = []
    for range in lines.ranges {
      body += try Splitting.slice(
        range.lowerBound - held.lowerBound..<range.upperBound - held.lowerBound, of: batch)
    }
    return body
  }

  /// One process at a time.
  private func lockDirectory(_ state: inout State) throws(DiskError) {
    guard state.lock == nil else { return }
    let hidden = FileFolder.hidden(settings.directory)
    try disk.makeDirectory(settings.directory)
    try disk.makeDirectory(hidden)
    let path = "\(hidden)/lock"
    let descriptor = try disk.open(path, create: true)
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let code = errno
      Glibc.close(descriptor)
      throw code == EWOULDBLOCK
        ? DiskError("lock", path, cause: "another uplink or process delivers into this directory")
        : DiskError("lock", path, code: code)
    }
    state.lock = descriptor
  }

  // MARK: Finishing by age

  private func openExisting() async {
    _ = await onThread { uplink in
      uplink.state.withLock { state in
        let hidden = FileFolder.hidden(uplink.settings.directory)
        guard !state.isShutDown, uplink.disk.exists(hidden) else { return }
        do {
          try uplink.lockDirectory(&state)
          for pipeline in try uplink.disk.names(in: hidden) where pipeline != "lock" {
            if state.folders[pipeline] == nil {
              state.folders[pipeline] = try FileFolder(
                pipeline: pipeline, directory: uplink.settings.directory, disk: uplink.disk)
            }
            uplink.finishIfDue(pipeline, &state)
          }
        } catch {
          uplink.logger.error(
            "cannot open what an earlier run has left in the directory of a file uplink",
            metadata: ["error": "\(error)"])
        }
      }
    }
  }

  /// Finishes the open file of a pipeline, or sets a timer for it. What fails is tried again: the
  /// batches in it are safe where they are.
  private func finishIfDue(_ pipeline: String, _ state: inout State) {
    guard let begun = state.folders[pipeline]?.begun else { return }
    let now = wall()
    var pause = max(0, min(settings.maximumAge, begun + settings.maximumAge - now)) + 1_000_000
    if state.folders[pipeline]?.isDue(settings, wall: now) == true {
      do {
        try state.folders[pipeline]?.finish()
        return
      } catch {
        state.folders[pipeline]?.close()
        state.folders[pipeline] = nil
        logger.error("cannot finish a file", metadata: ["pipeline": "\(pipeline)", "error": "\(error)"])
        pause = 10_000_000_000
      }
    }
    guard state.timers[pipeline] == nil, !state.isShutDown else { return }
    state.timers[pipeline] = Task { [weak self] in
      try? await Task.sleep(nanoseconds: UInt64(pause))
      guard !Task.isCancelled else { return }
      await self?.timerFired(pipeline)
    }
  }

  private func timerFired(_ pipeline: String) async {
    state.withLock { $0.timers[pipeline] = nil }
    _ = await onThread { uplink in
      uplink.state.withLock { state in
        guard !state.isShutDown else { return }
        if state.folders[pipeline] == nil {
          state.folders[pipeline] = try? FileFolder(
            pipeline: pipeline, directory: uplink.settings.directory, disk: uplink.disk)
        }
        uplink.finishIfDue(pipeline, &state)
      }
    }
  }

  private func close() {
    state.withLock { state in
      state.isShutDown = true
      for task in state.timers.values { task.cancel() }
      state.timers = [:]
      for pipeline in state.folders.keys.sorted() {
        do {
          try state.folders[pipeline]?.finish()
        } catch {
          logger.error("cannot finish a file", metadata: ["pipeline": "\(pipeline)", "error": "\(error)"])
        }
        state.folders[pipeline]?.close()
      }
      state.folders = [:]
      if let lock = state.lock { Glibc.close(lock) }
      state.lock = nil
    }
  }
}
