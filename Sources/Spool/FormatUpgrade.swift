internal import Telemetry

// Bringing the databases of a spool to the formats of this version, when it is opened by the daemon, under its lock.
//
//   1. Both files are looked at. One that is too new refuses both, before anything is touched.
//   2. The room is looked at: for the copies, and for what the change writes. The ballast is not part of it.
//   3. What is to change is copied (FormatCopy.swift), and state.db with log.db: an old log with a newer state would
//      lie before its checkpoints, which costs the messages between, whereas an old state beside a newer log only
//      reads again what it has read (possible duplicates, under new epochs: Binding.swift).
//   4. Each file is changed in one transaction, fsynced, and its write-ahead log is emptied.
//   5. Copies that are not of this upgrade go.
//
// A power cut before the commit of 4 leaves the old file: the next start begins with 1, and makes the copies anew, for
// an older version may have run meanwhile. After it the new file stands. Between the two files one is new and one is
// old: this version goes on with the other, and an older one refuses the first.
//
// A database that is damaged is left to the opening, which rebuilds it in the newest format (LogSalvage.swift,
// StateSalvage.swift).
struct FormatUpgrade {
  let directory: String
  var formats: SpoolFormats = .current
  /// Is told what is done, in a few words, again and again.
  var report: (String) -> Void = { _ in }
  /// Bytes that may still be written.
  var free: (String) throws(SpoolError) -> Int64 = FileSystem.free

  private struct Candidate {
    var format: DatabaseFormat
    var found: Int64
    var bytes: Int64

    var isOld: Bool { found < format.current }
    var steps: ArraySlice<DatabaseFormat.Migration> {
      format.migrations.dropFirst(Int(found - DatabaseFormat.first))
    }
    var title: String { "\(format.database.rawValue) from format \(found) to \(format.current)" }
  }

  /// - Returns: what was done, for people.
  /// - Throws: ``SpoolError/Kind/newer``; ``SpoolError/Kind/full`` when there is no room, in which case the files are
  ///   as they were; ``SpoolError/Kind/older`` when a step failed: they are as they were, too.
  func run(now: Moment) throws(SpoolError) -> [String] {
    FormatCopy.sweep(directory)
    let damage = Damage(directory: directory)
    var candidates: [Candidate] = []
    for format in formats.all where damage.noted(format.database) == nil {
      if let candidate = try look(format, damage.path(format.database)) { candidates.append(candidate) }
    }
    let old = candidates.filter(\.isOld)
    guard !old.isEmpty else { return [] }
    let withLog = old.contains { $0.format.database == .log }
    let copied = candidates.filter { $0.isOld || (withLog && $0.format.database == .state) }
    let copies = copied.map { FormatCopy(directory: directory, database: $0.format.database, format: $0.found) }
    let stale = FormatCopy.all(in: directory).filter { copy in copied.contains { $0.format.database == copy.database } }
    try requireRoom(copied, old, freed: stale)
    for copy in stale { copy.remove() }
    var findings: [String] = []
    do throws(SpoolError) {
      for copy in copies { try keep(copy, of: damage.path(copy.database), now: now) }
      for candidate in old {
        if let finding = try bringForward(candidate, damage, now: now) { findings.append(finding) }
      }
    } catch {
      // Nothing has changed, so nothing has to be kept: it would only take the room that may be wanting.
      if findings.isEmpty { for copy in copies { copy.remove() } }
      throw error
    }
    return findings
  }

  private func keep(_ copy: FormatCopy, of path: String, now: Moment) throws(SpoolError) {
    try wording(path) { () throws(SpoolError) in
      let source = try Connection(path: path, access: .readOnly)
      defer { source.close() }
      try copy.make(of: source, now: now) { report("keeping \(copy.name): \($0) %") }
    }
  }

  /// - Returns: what was done; nil when the file turned out to be damaged.
  private func bringForward(
    _ candidate: Candidate, _ damage: Damage, now: Moment
  ) throws(SpoolError) -> String? {
    let database = candidate.format.database
    let path = damage.path(database)
    report("bringing \(candidate.title)")
    do throws(SpoolError) {
      try wording(path) { () throws(SpoolError) in
        let connection = try Connection(path: path, access: .readWrite(.everyCommit))
        defer { connection.close() }
        try candidate.format.bringForward(connection)
        report("\(database.rawValue) is of format \(candidate.format.current)")
        // It is committed: what is left in the write-ahead log takes room and no more.
        try? connection.truncateLog()
      }
    } catch  where error.kind == .damaged {
      // Of what can be read of it the opening makes a new one.
      _ = try damage.note(database, reason: "\(error)", wall: now.wall)
      return nil
    }
    return "brought \(candidate.title); as it was it lies in \(database.rawValue).format-\(candidate.found)"
      + " for \(FormatCopy.age / 86_400_000_000_000) days"
  }

  /// What a file is; nil where there is none, none with content, or a damaged one, with which the opening deals.
  private func look(_ format: DatabaseFormat, _ path: String) throws(SpoolError) -> Candidate? {
    var hasBallast = true
    while true {
      do throws(SpoolError) {
        return try candidate(format, path)
      } catch {
        switch error.kind {
        case .damaged: return nil
        case .full, .io:
          // To be opened at all it may need the room that the ballast holds, as in Spool.open.
          guard hasBallast else { throw error }
          hasBallast = false
          Ballast(directory: directory).release()
        default: throw error
        }
      }
    }
  }

  private func candidate(_ format: DatabaseFormat, _ path: String) throws(SpoolError) -> Candidate? {
    guard FileSystem.exists(path) else { return nil }
    let connection = try Connection(path: path, access: .readOnly)
    defer { connection.close() }
    guard try !DatabaseFormat.isEmpty(connection) else { return nil }
    let bytes = (try connection.integer("PRAGMA page_count") ?? 0) * (try connection.integer("PRAGMA page_size") ?? 0)
    return Candidate(format: format, found: try format.read(connection), bytes: bytes)
  }

  private func requireRoom(_ copied: [Candidate], _ old: [Candidate], freed: [FormatCopy]) throws(SpoolError) {
    // What is rewritten stands in the write-ahead log once more, until that is emptied.
    let rewritten = old.filter { $0.steps.contains { $0.extent == .rows } }
    let needed =
      copied.map(\.bytes).reduce(0, +) + rewritten.map(\.bytes).reduce(0, +) + RebuildRoom.reserve
      - freed.map(\.size).reduce(0, +)
    let free = try free(directory)
    guard free < needed else { return }
    throw noRoom(directory, "it takes \((needed >> 20) + 1) MiB, and the disk has \(free >> 20) MiB free")
  }

  private func noRoom(_ path: String, _ cause: String) -> SpoolError {
    SpoolError(
      kind: .full, operation: "bring to the formats of this version", path: path,
      cause: "there is no room for a copy of the old files and for the change: \(cause)",
      hint: "make room on the disk; or install the version before again, let it deliver and lower spool.keep, so that "
        + "the files get smaller; nothing was changed")
  }

  /// Says of a disk that filled up, and of a step that failed, what that means here.
  private func wording(_ path: String, _ body: () throws(SpoolError) -> Void) throws(SpoolError) {
    do throws(SpoolError) {
      try body()
    } catch {
      switch error.kind {
      case .full: throw noRoom(path, error.cause)
      case .misuse:
        // Tried again it fails again, after another copy of everything.
        throw SpoolError(
          kind: .older, operation: "bring to the format of this version", path: path, cause: error.cause,
          hint: "this is a defect of forebay: install the version before again; nothing was changed")
      default: throw error
      }
    }
  }
}
