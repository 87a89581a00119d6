internal import Glibc
internal import Pipeline
internal import Synchronization

/// Notices that the files of reference tables have become others.
///
/// A file counts as changed when it looks different from when it was last taken, and the same as at the look
/// before: one that is being written is left to its writer. What it holds is compared by whoever takes it, so a look
/// that finds too much costs one reading of the file.
struct TableWatch: Sendable {
  /// Nanoseconds between two looks.
  static let interval: UInt64 = 5_000_000_000

  /// What a file looks like from outside.
  struct Mark: Sendable, Hashable {
    var device: UInt64
    var inode: UInt64
    var size: Int64
    /// Nanoseconds of the last modification.
    var modified: Int64
    /// Nanoseconds of the last change of anything about it, such as its mode.
    var changed: Int64 = 0
  }

  /// Nil for a file that is not there.
  private var seen: [String: Mark?] = [:]
  private var taken: [String: Mark?] = [:]

  /// - Parameter mark: what a file looks like now.
  /// - Returns: whether any of the files is to be read again.
  mutating func look(at paths: Set<String>, mark: (String) -> Mark? = TableWatch.mark) -> Bool {
    var hasChanged = false
    seen = seen.filter { paths.contains($0.key) }
    taken = taken.filter { paths.contains($0.key) }
    for path in paths {
      let now = mark(path)
      let isSteady = seen.updateValue(now, forKey: path) == .some(now)
      guard isSteady, taken[path] != .some(now) else { continue }
      taken[path] = .some(now)
      hasChanged = true
    }
    return hasChanged
  }

  static func mark(_ path: String) -> Mark? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    return Mark(
      device: UInt64(status.st_dev), inode: UInt64(status.st_ino), size: Int64(status.st_size),
      modified: Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec),
      changed: Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec))
  }
}

extension Configuration {
  /// The same configuration with the tables as their files are now. A table that cannot be used stays as it is.
  /// - Returns: nil where none of them is another, and what is wrong with those that cannot be used.
  func withTables(_ files: ConfigurationFiles) -> (next: Configuration?, faults: [String]) {
    var next = withoutAttached
    var faults: [String] = []
    var read: [String: Result<[UInt8], ConfigurationFiles.Fault>] = [:]
    for source in tables {
      guard let pipeline = next.pipelines.firstIndex(where: { $0.name == source.pipeline }),
        next.pipelines[pipeline].enrich.indices.contains(source.index)
      else { continue }
      let contents = read[source.path] ?? files.contents(of: source.path, kind: .table).map(\.bytes)
      read[source.path] = contents
      do {
        let bytes = try contents.get()
        let table = try source.enrichment(bytes, files)
        guard table != next.pipelines[pipeline].enrich[source.index] else { continue }
        next.pipelines[pipeline].enrich[source.index] = table
        next.attach(bytes, path: source.path)
      } catch let fault as ConfigurationFiles.Fault {
        faults.append("the table \(source.path) \(fault.reason)")
      } catch {
        faults.append("\(error)")
      }
    }
    return (next.pipelines == pipelines ? nil : next, Set(faults).sorted())
  }
}

extension Daemon {
  /// Takes over the tables whose files have changed; nothing else of the configuration is read again. What was read
  /// with the old ones is sealed with them.
  /// - Returns: the configuration that runs now; nil where it is the same.
  func reloadTables(_ files: ConfigurationFiles = .system) async -> Configuration? {
    let current = configuration.withLock { $0 }
    let (next, faults) = current.withTables(files)
    report(tableFaults: faults)
    guard let next else { return nil }
    do {
      try AttachmentStore(spool: spoolDirectory).keep(next.attached)
      try await pipelines.reload(PipelineWorker.Plan(next))
    } catch {
      report(tableFaults: faults + ["changed tables could not be taken over: \(error)"])
      return nil
    }
    configuration.withLock { $0 = next.withoutAttached }
    return next
  }
}
