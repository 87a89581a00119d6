internal import Glibc
internal import Telemetry

/// What a configuration asks of the machine that it is read on. Injected, so that reading a
/// configuration is a function of its inputs.
struct ConfigurationFiles: Sendable {
  enum Fault: Error, Sendable, Hashable {
    case missing
    case notAFile
    case notAFolder
    case tooLarge(limit: Int)
    /// What the system says, in words.
    case refused(String)

    var reason: String {
      switch self {
      case .missing: "does not exist"
      case .notAFile: "is not a file"
      case .notAFolder: "is not a folder"
      case .tooLarge(let limit): "has more than \(Quantity.describe(bytes: Int64(limit)))"
      case .refused(let reason): "cannot be read: \(reason)"
      }
    }
  }

  struct Contents: Sendable, Hashable {
    var bytes: [UInt8]
    /// Every user of the machine may read it.
    var isWorldReadable: Bool
  }

  struct Volume: Sendable, Hashable {
    /// Bytes of the whole file system.
    var total: Int64
    /// Bytes that are free for us.
    var free: Int64
  }

  enum Kind: Sendable, Hashable {
    case missing
    case directory
    case socket
    case other
  }

  /// The bytes of a regular file of at most so many bytes.
  var read: @Sendable (_ path: String, _ limit: Int) -> Result<Contents, Fault>
  /// The names of what is in a folder, sorted.
  var names: @Sendable (_ folder: String) -> Result<[String], Fault>
  var kind: @Sendable (_ path: String) -> Kind
  /// What stands against using a folder, or making it where it is missing.
  var obstacle: @Sendable (_ path: String) -> FolderObstacle?
  /// The path without symbolic links, as far as it exists.
  var resolved: @Sendable (_ path: String) -> String
  /// The file system that a path lies in, or would lie in; nil when the system does not say.
  var volume: @Sendable (_ path: String) -> Volume?
  /// `$CREDENTIALS_DIRECTORY`: where systemd puts the credentials of a unit (systemd.exec(5)).
  var credentialsDirectory: String?
  /// By the path of the original: the bytes that attachments of a kept configuration had when it ran.
  var copies: [String: Copy] = [:]

  /// This machine.
  static var system: ConfigurationFiles {
    ConfigurationFiles(
      read: readFile, names: namesInFolder, kind: kindOfFile, obstacle: FolderObstacle.onDisk, resolved: resolvedPath,
      volume: volumeOfPath,
      credentialsDirectory: environment("CREDENTIALS_DIRECTORY"))
  }

  private static let readFile: @Sendable (String, Int) -> Result<Contents, Fault> = { path, limit in
    // Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else {
      return .failure(errno == ENOENT || errno == ENOTDIR ? .missing : .refused(errorText()))
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return .failure(.refused(errorText())) }
    guard status.st_mode & S_IFMT == S_IFREG else { return .failure(.notAFile) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count < 0 {
        if errno == EINTR { continue }
        return .failure(.refused(errorText()))
      }
      if count == 0 { break }
      bytes += buffer[..<count]
      guard bytes.count <= limit else { return .failure(.tooLarge(limit: limit)) }
    }
    return .success(Contents(bytes: bytes, isWorldReadable: status.st_mode & S_IROTH != 0))
  }

  private static let namesInFolder: @Sendable (String) -> Result<[String], Fault> = { path in
    guard let directory = opendir(path) else {
      return .failure(errno == ENOENT ? .missing : errno == ENOTDIR ? .notAFolder : .refused(errorText()))
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return .success(names.sorted())
  }

  private static let kindOfFile: @Sendable (String) -> Kind = { path in
    var status = stat()
    guard stat(path, &status) == 0 else { return .missing }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: return .directory
    case S_IFSOCK: return .socket
    default: return .other
    }
  }

  private static let resolvedPath: @Sendable (String) -> String = { path in
    var existing = path
    var rest = ""
    while !existing.isEmpty {
      if let real = realpath(existing, nil) {
        defer { free(real) }
        let text = String(cString: real)
        return (text == "/" ? "" : text) + rest
      }
      guard let slash = existing.lastIndex(of: "/") else { break }
      rest = existing[slash...] + rest
      existing = String(existing[..<slash])
    }
    return path
  }

  private static let volumeOfPath: @Sendable (String) -> Volume? = { path in
    var existing = path
    while true {
      var status = statvfs()
      if statvfs(existing.isEmpty ? "/" : existing, &status) == 0 {
        let block = Int64(clamping: status.f_frsize)
        return Volume(
          total: Int64(clamping: status.f_blocks).multipliedReportingOverflow(by: block).partialValue,
          free: Int64(clamping: status.f_bavail).multipliedReportingOverflow(by: block).partialValue)
      }
      guard errno == ENOENT, let slash = existing.lastIndex(of: "/") else { return nil }
      existing = String(existing[..<slash])
    }
  }

  /// A variable that the process was started with; nil when it is missing or empty.
  static func environment(_ name: String) -> String? {
    guard let text = getenv(name) else { return nil }
    let value = String(cString: text)
    return value.isEmpty ? nil : value
  }

  /// The text of `errno`.
  static func errorText(_ code: Int32 = errno) -> String { String(cString: strerror(code)) }
}

/// Paths as texts; nothing here looks at the disk.
enum PathText {
  /// `path` as seen from `folder`, absolute, without `.`, `..` and doubled slashes.
  static func absolute(_ path: String, from folder: String) -> String {
    var parts: [Substring] = []
    for part in (path.hasPrefix("/") ? path : folder + "/" + path).split(separator: "/") {
      switch part {
      case ".": continue
      case "..": _ = parts.popLast()
      default: parts.append(part)
      }
    }
    return "/" + parts.joined(separator: "/")
  }

  /// Everything before the last slash of an absolute path.
  static func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return "/" }
    return String(path[..<slash])
  }

  /// Whether an absolute path is `folder` or lies below it.
  static func isWithin(_ path: String, _ folder: String) -> Bool {
    path == folder || path.hasPrefix(folder == "/" ? "/" : folder + "/")
  }

  static var workingDirectory: String {
    guard let path = getcwd(nil, 0) else { return "/" }
    defer { free(path) }
    return String(cString: path)
  }
}
