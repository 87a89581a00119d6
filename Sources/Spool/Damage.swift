internal import Glibc

/// The two databases of a spool, by the names of their files.
enum Database: String, Sendable, CaseIterable {
  case log = "log.db"
  case state = "state.db"
}

/// The note that a database is damaged: a small file `<database>.damaged` that stands from the moment of
/// the finding until the database is rebuilt.
///
/// Rebuilding takes the steps below, and a power cut may come between any two of them; the note and what
/// is there tell how far it had come. The database that goes on appears by rename, whole.
///   1. the note is written; it names the place in the quarantine
///   2. the damaged database is moved there with its write-ahead log
///   3. what can be saved is copied into `<database>.new`
///   4. that is renamed to the database's name
///   5. the note is removed
///
/// A database that turns out to be whole is moved back after step 2, in place of steps 3 and 4.
struct Damage: Sendable {
  struct Note: Sendable, Hashable {
    /// Where the damaged database lies, or will.
    var place: String
    var reason: String
  }

  let directory: String

  func path(_ database: Database) -> String { "\(directory)/\(database.rawValue)" }
  func database(at path: String) -> Database? { Database.allCases.first { self.path($0) == path } }
  /// What is being rebuilt, before it takes the database's name.
  func rebuilt(_ database: Database) -> String { path(database) + ".new" }
  private func notePath(_ database: Database) -> String { path(database) + ".damaged" }

  /// The note that stands, if one does.
  func noted(_ database: Database) -> Note? {
    guard let bytes = try? FileSystem.read(notePath(database)) else { return nil }
    let parts = String(decoding: bytes, as: UTF8.self).split(
      separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
    // A note that was cut off says at least that something is wrong.
    let name = parts.first.map(String.init) ?? ""
    let sane = name.hasSuffix(database.rawValue) && !name.contains("/")
    return Note(
      place: "\(directory)/quarantine/\(sane ? name : "unnamed-" + database.rawValue)",
      reason: parts.count > 1 ? String(parts[1]) : "")
  }

  /// Step 1. A note that stands already is left as it is.
  /// - Parameter wall: wall nanoseconds, for the name in the quarantine.
  func note(_ database: Database, reason: String, wall: Int64) throws(SpoolError) -> Note {
    if let note = noted(database) { return note }
    var name = "\(wall)-\(database.rawValue)"
    // A clock that stands still between two boots must not lay one file over another.
    var attempt = 1
    while FileSystem.exists("\(directory)/quarantine/\(name)") {
      attempt += 1
      name = "\(wall)-\(attempt)-\(database.rawValue)"
    }
    try FileSystem.replace(notePath(database), with: Array("\(name)\n\(reason)".utf8))
    return Note(place: "\(directory)/quarantine/\(name)", reason: reason)
  }

  /// Damaged databases that are kept, of each kind; older ones go when another is set aside.
  private static let kept = 3

  private func prune(_ database: Database) {
    let quarantine = directory + "/quarantine"
    let names = FileSystem.names(in: quarantine).filter { $0.hasSuffix("-" + database.rawValue) }
    // Names begin with the time; of different lengths the longer one is later.
    let oldestFirst = names.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
    for name in oldestFirst.dropLast(Damage.kept - 1) {
      for suffix in ["", "-wal", ".reason.txt"] { unlink("\(quarantine)/\(name)\(suffix)") }
    }
  }

  /// Step 2; done already when it was interrupted later.
  func setAside(_ database: Database, _ note: Note) throws(SpoolError) {
    try FileSystem.makeDirectory(directory + "/quarantine")
    let path = path(database)
    guard FileSystem.exists(path), !FileSystem.exists(note.place) else { return }
    prune(database)
    try FileSystem.replace(note.place + ".reason.txt", with: Array("\(note.reason)\n".utf8))
    // The write-ahead log first: the database's arrival says that this step is complete.
    for suffix in ["-wal", ""] where FileSystem.exists(path + suffix) {
      guard rename(path + suffix, note.place + suffix) == 0 else {
        throw FileSystem.failure("set aside", path + suffix)
      }
    }
    unlink(path + "-shm")
    try FileSystem.syncDirectory(of: note.place)
    try FileSystem.syncDirectory(of: path)
  }

  /// Whether step 4 is done.
  func isReplaced(_ database: Database, _ note: Note) -> Bool {
    FileSystem.exists(path(database)) && FileSystem.exists(note.place)
  }

  /// Clears what an interrupted step 3 left.
  func beginRebuilding(_ database: Database) {
    for suffix in ["", "-wal", "-shm", "-journal"] { unlink(rebuilt(database) + suffix) }
  }

  /// Moves a database back that turned out to be whole. Its write-ahead log, if it has one, has been
  /// emptied before.
  func putBack(_ database: Database, _ note: Note) throws(SpoolError) {
    guard rename(note.place, path(database)) == 0 else { throw FileSystem.failure("put back", note.place) }
    for suffix in ["-wal", "-shm", ".reason.txt"] { unlink(note.place + suffix) }
    try FileSystem.syncDirectory(of: path(database))
    try FileSystem.syncDirectory(of: note.place)
  }

  /// Step 4, for a new database that is closed.
  func replace(_ database: Database) throws(SpoolError) {
    guard FileSystem.size(rebuilt(database) + "-wal") == 0 else {
      throw SpoolError(
        kind: .full, operation: "finish", path: rebuilt(database),
        cause: "its write-ahead log could not be emptied", hint: SpoolError.Kind.full.hint)
    }
    guard rename(rebuilt(database), path(database)) == 0 else {
      throw FileSystem.failure("rename", rebuilt(database))
    }
    try FileSystem.syncDirectory(of: path(database))
  }

  /// Step 5.
  func clear(_ database: Database) throws(SpoolError) {
    unlink(notePath(database))
    try FileSystem.syncDirectory(of: path(database))
  }
}
