internal import Glibc
internal import Telemetry

// A backup is one file: a tar archive (ustar), so that anybody can look into it with `tar tf`.
//
//   forebay-backup/mirror.json, ...     the small files that SpoolFiles.kept names, as far as they are there
//   forebay-backup/attachments/SHA-256  the files that the kept configurations refer to
//   forebay-backup/tokens               who may use the API: digests of tokens
//   forebay-backup/state.db             as they stood at one moment (SpoolSnapshot.swift)
//   forebay-backup/log.db
//   forebay-backup/manifest.json        what is in it and of when (BackupManifest.swift)
//   forebay-backup/manifest.sha256      the manifest's digest, as sha256sum(1) writes it
//
// The mirror is read before the databases are cut: marks that lag are safe, marks that run ahead of the log would be
// a fault. The other small files are read right behind the cut. The manifest comes last, and every file of the archive
// stands in it once with size and digest: what was cut off, changed or added is found before anything is used. Digests
// find damage; against somebody who means harm the archive is as safe as the place where it lies.

/// Writes and verifies backups.
package enum Backup {
  /// What a backup is made of.
  package struct Source: Sendable {
    /// The spool's folder.
    package var directory: String
    /// The file of the API's tokens, where there is one.
    package var tokens: String?
    /// The path of the configuration that runs.
    package var configuration: String?
    /// Of Forebay.
    package var version: String
    /// Bytes that stay free where the spool lies.
    package var minimumFree: Int64 = SpoolSettings(directory: "").minimumFree

    package init(directory: String, version: String) {
      self.directory = directory
      self.version = version
    }
  }

  /// How far something has come that takes its time: bytes, and of how many.
  package struct Progress: Sendable, Hashable {
    package var done: Int64 = 0
    package var total: Int64 = 0
  }

  /// Bytes of a small file at most: audit logs are the largest.
  private static let largestSmallFile = 64 << 20
  /// Bytes that stay free on a disk that something is written to.
  static let reserve: Int64 = 16 << 20

  /// Writes a backup, beside a running daemon or without one. On return it is synced and has its name; before, there
  /// is nothing under that name, or what was there.
  /// - Parameters:
  ///   - time: `wall` for people.
  ///   - progress: is called often.
  package static func write(
    _ source: Source, to path: String, wall: Int64, time: String, progress: (Progress) -> Void = { _ in }
  ) throws(SpoolError) -> BackupManifest {
    let directory = source.directory
    let folder = FileSystem.folder(of: path)
    guard !FileSystem.isFolder(path) else {
      throw SpoolError(
        kind: .misuse, operation: "write the backup", path: path, cause: "this is a folder",
        hint: "name the file in it, such as \(path)/gateway.tar")
    }
    guard let place = FileSystem.resolved(folder) else { throw FileSystem.failure("open the folder", folder) }
    let spool = FileSystem.resolved(directory) ?? directory
    guard place != spool, !place.hasPrefix(spool + "/") else {
      throw SpoolError(
        kind: .misuse, operation: "write the backup", path: path, cause: "this is within the spool itself",
        hint: "name another place, best on another disk")
    }
    var small: [(name: String, content: [UInt8])] = []
    func add(_ name: String, at file: String) throws(SpoolError) {
      guard var content = try SpoolOwner.read(file, in: directory, limit: largestSmallFile) else { return }
      // What is appended line by line may be read in the middle of one.
      if name.hasSuffix(".jsonl") { content.removeLast(content.reversed().prefix { $0 != UInt8(ascii: "\n") }.count) }
      small.append((name, content))
    }
    try add("mirror.json", at: Spool.mirrorPath(directory))
    let snapshot = try SpoolSnapshot(of: directory)
    defer { snapshot.close() }
    for name in SpoolFiles.kept where name != "mirror.json" { try add(name, at: "\(directory)/\(name)") }
    if let tokens = source.tokens { try add(BackupNames.tokens, at: tokens) }
    let attachments = FileSystem.names(in: "\(directory)/\(SpoolFiles.attachments)").sorted()
      .map { "\(SpoolFiles.attachments)/\($0)" }.filter(BackupNames.isKnown)

    let sizes = [Database.state: try snapshot.size(of: .state), .log: try snapshot.size(of: .log)]
    let databases = sizes.values.reduce(0, +)
    let rest =
      small.reduce(0) { $0 + Int64($1.content.count) }
      + attachments.reduce(0) { $0 + FileSystem.size("\(directory)/\($1)") }
    try require(databases + (sizes.values.max() ?? 0) + rest, for: path, in: folder, beside: source)
    try check(snapshot.state)

    var state = Progress(done: 0, total: 2 * databases + rest)
    func advance(_ bytes: Int64) {
      state.done = min(state.done + bytes, state.total)
      progress(state)
    }
    progress(state)
    var manifest = manifest(of: snapshot, source, wall: wall, time: time)
    let hasTokens = small.contains { $0.name == BackupNames.tokens }
    manifest.tokens = hasTokens ? source.tokens : nil
    let archive = try ArchiveWriter(path: path, wall: wall)
    for (name, content) in small {
      manifest.files.append(try archive.add(name, content))
      advance(Int64(content.count))
    }
    for name in attachments {
      let path = "\(directory)/\(name)"
      // One that no configuration needs any more may have gone.
      guard let file = try SpoolOwner.open(path, in: directory) else { continue }
      defer { Glibc.close(file) }
      manifest.files.append(try archive.add(name, from: file, called: path, progress: advance))
    }
    for database in [Database.state, .log] {
      let copy = path + ".copy"
      Glibc.close(try FileSystem.createAnew(copy, mode: 0o600))
      defer { unlink(copy) }
      try snapshot.copy(database, to: copy, progress: advance)
      let file = try FileSystem.openRegular(copy, operation: "read", flags: O_NOFOLLOW)
      defer { Glibc.close(file) }
      manifest.files.append(try archive.add(database.rawValue, from: file, called: copy, progress: advance))
    }
    guard let text = manifest.encoded() else {
      throw SpoolError(kind: .misuse, operation: "describe", path: path, cause: "no JSON can say it", hint: nil)
    }
    let listed = try archive.add(BackupNames.manifest, text)
    _ = try archive.add(BackupNames.manifestDigest, Array("\(listed.sha256)  \(BackupNames.manifest)\n".utf8))
    try archive.finish()
    return manifest
  }

  private static func manifest(
    of snapshot: SpoolSnapshot, _ source: Source, wall: Int64, time: String
  ) -> BackupManifest {
    let own = snapshot.pipelines.filter { $0.replay == nil }
    return BackupManifest(
      forebay: source.version, stateFormat: DatabaseFormat.state.current, logFormat: DatabaseFormat.log.current,
      wall: wall, time: time, gateways: Set(own.map(\.gateway)).sorted(), spool: source.directory,
      configuration: source.configuration,
      log: BackupManifest.Log(
        id: snapshot.end.log.rawValue, start: snapshot.start.rawValue, next: snapshot.end.next.rawValue,
        received: snapshot.end.received),
      pipelines: own.map {
        BackupManifest.Pipeline(
          name: $0.name, active: $0.active, epoch: $0.epoch.rawValue, sequence: $0.sequence, log: $0.log.rawValue,
          checkpoint: $0.checkpoint.rawValue)
      },
      balances: snapshot.audit.balances)
  }

  /// Bytes are needed for the archive, and beside it for the copy of one database at a time.
  private static func require(
    _ bytes: Int64, for path: String, in folder: String, beside source: Source
  ) throws(SpoolError) {
    let isSpools = FileSystem.device(folder) == FileSystem.device(source.directory)
    let kept = isSpools ? max(reserve, source.minimumFree) : reserve
    let free = try FileSystem.free(folder)
    guard free - kept < bytes else { return }
    throw SpoolError(
      kind: .full, operation: "write the backup", path: path,
      cause: "it takes \(mebibytes(bytes)) while it is made, and of \(mebibytes(free)) free \(mebibytes(kept)) are kept"
        + (isSpools ? ", because the spool is on the same disk" : ""),
      hint: "name a place on another disk")
  }

  static func mebibytes(_ bytes: Int64) -> String { "\((bytes + (1 << 20) - 1) >> 20) MiB" }

  /// The log's blocks have checksums of their own, which readers look at; the state has none.
  private static func check(_ state: Connection) throws(SpoolError) {
    let verdict = try state.text("PRAGMA quick_check(1)") ?? "nothing"
    guard verdict == "ok" else {
      throw SpoolError(
        kind: .damaged, operation: "back up", path: state.path, cause: verdict,
        hint: "restart the daemon, which rebuilds it, and take the backup then")
    }
  }

  // MARK: Reading

  /// Reads a whole backup and compares every byte with what its manifest says. Nothing is written.
  /// - Throws: ``SpoolError/Kind/damaged`` where it is no whole backup, ``SpoolError/Kind/newer`` where a later version
  ///   wrote it.
  package static func verify(
    _ path: String, progress: (Progress) -> Void = { _ in }
  ) throws(SpoolError) -> BackupManifest {
    try read(BackupFile(path: path), into: nil, progress: progress)
  }

  /// Reads a backup from its beginning to its end.
  /// - Parameter folder: where its files are to be written; nil: nowhere. What was written is not to be used before
  ///   this has returned.
  static func read(
    _ file: BackupFile, into folder: String?, progress: (Progress) -> Void
  ) throws(SpoolError) -> BackupManifest {
    let reader = ArchiveReader(file)
    var state = Progress(done: 0, total: file.size)
    var found: [BackupManifest.File] = []
    var names: Set<String> = []
    var manifest: [UInt8]?
    var digest: [UInt8]?
    func read(_ header: TarHeader, limit: Int64) throws(SpoolError) -> [UInt8] {
      guard header.size <= limit else { throw reader.fault("\(header.name) is too large") }
      var bytes: [UInt8] = []
      try reader.content(header) { bytes += $0 }
      return bytes
    }
    while let header = try reader.next() {
      guard header.name.hasPrefix(BackupNames.folder) else {
        throw reader.fault("\(header.name) is no file of a backup")
      }
      let name = String(header.name.dropFirst(BackupNames.folder.count))
      switch name {
      case BackupNames.manifest where manifest == nil: manifest = try read(header, limit: BackupManifest.limit)
      case BackupNames.manifestDigest where manifest != nil && digest == nil: digest = try read(header, limit: 512)
      default:
        guard manifest == nil, BackupNames.isKnown(name) else {
          throw reader.fault("\(header.name) is no file of a backup, or not in its place")
        }
        guard names.insert(name).inserted, names.count <= BackupNames.limit else {
          throw reader.fault("\(header.name) is in it twice, or there are too many files")
        }
        let file = try Extraction(name, in: folder)
        try reader.content(header) { chunk throws(SpoolError) in
          try file.take(chunk)
          state.done += Int64(chunk.count)
          progress(state)
        }
        found.append(BackupManifest.File(name: name, size: header.size, sha256: try file.finish().hex))
      }
    }
    return try compare(manifest, digest, with: found, reader, path: file.path)
  }

  private static func compare(
    _ text: [UInt8]?, _ digest: [UInt8]?, with found: [BackupManifest.File], _ reader: ArchiveReader, path: String
  ) throws(SpoolError) -> BackupManifest {
    guard let text, let digest else { throw reader.fault("its manifest is missing: it was cut off, or is no backup") }
    guard String(decoding: digest, as: UTF8.self).hasPrefix(Digest(of: text).hex + " ") else {
      throw reader.fault("its manifest was changed")
    }
    if let format = BackupManifest.format(of: text), format > BackupManifest.newest {
      throw newer(path, "its form is \(format), and \(BackupManifest.newest) the newest that this version reads")
    }
    guard let manifest = BackupManifest.decoded(text) else { throw reader.fault("its manifest cannot be read") }
    guard manifest.stateFormat <= DatabaseFormat.state.current, manifest.logFormat <= DatabaseFormat.log.current else {
      throw newer(path, "another Forebay wrote its databases in a form that this version does not read")
    }
    for (listed, file) in zip(manifest.files, found) where listed != file {
      throw reader.fault("\(file.name) is not what the manifest says of the file in its place")
    }
    guard manifest.files.count == found.count else {
      throw reader.fault("\(found.count) files are in it, and \(manifest.files.count) in its manifest")
    }
    guard SpoolFiles.databases.allSatisfy({ name in found.contains { $0.name == name } }) else {
      throw reader.fault("a database is missing")
    }
    return manifest
  }

  private static func newer(_ path: String, _ cause: String) -> SpoolError {
    SpoolError(
      kind: .newer, operation: "read the backup", path: path, cause: cause,
      hint: "install the version that wrote it")
  }
}

/// One file of an archive on its way to the disk, or only to its digest.
private final class Extraction {
  private let digest = DigestStream()
  private let path: String?
  private let file: Int32

  /// - Parameters:
  ///   - name: one that a backup may hold (``BackupNames/isKnown(_:)``).
  ///   - folder: nil: it is not written.
  init(_ name: String, in folder: String?) throws(SpoolError) {
    guard let folder else {
      path = nil
      file = -1
      return
    }
    let place = "\(folder)/\(BackupNames.place(of: name))"
    let isAttachment = name.hasPrefix(SpoolFiles.attachments + "/")
    if isAttachment, mkdir("\(folder)/\(SpoolFiles.attachments)", 0o700) != 0, errno != EEXIST {
      throw FileSystem.failure("create", "\(folder)/\(SpoolFiles.attachments)")
    }
    path = place
    file = try FileSystem.createAnew(place, mode: isAttachment ? 0o600 : 0o640)
  }

  deinit { if file >= 0 { Glibc.close(file) } }

  func take(_ chunk: ArraySlice<UInt8>) throws(SpoolError) {
    digest.add(chunk)
    if let path { try FileSystem.write(chunk, chunk.count, to: file, path: path) }
  }

  /// Syncs what was written.
  func finish() throws(SpoolError) -> Digest {
    if let path, fsync(file) != 0 { throw FileSystem.failure("sync", path) }
    return digest.finish()
  }
}

extension FileSystem {
  /// Without links and dots; nil where there is no such file.
  static func resolved(_ path: String) -> String? {
    guard let found = realpath(path, nil) else { return nil }
    defer { Glibc.free(found) }
    return String(cString: found)
  }

  static func isFolder(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
  }

  /// The number of the file system; nil where there is no such file.
  static func device(_ path: String) -> UInt64? {
    var info = stat()
    return stat(path, &info) == 0 ? UInt64(info.st_dev) : nil
  }
}
