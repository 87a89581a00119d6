internal import Glibc

/// Why a folder cannot be used, or cannot be made where it is missing.
enum FolderObstacle: Sendable, Hashable {
  /// Something else stands at this path: the folder's own, or one on the way to it.
  case notAFolder(String)
  /// The folder that it would be made in does not exist. It is not made along with it: on a volume that
  /// is not mounted, the data would land beneath the mount point.
  case missingParent(String)
  /// The system says no, in words.
  case refused(path: String, reason: String)

  /// What is wrong, about the folder `path`.
  func message(about path: String) -> String {
    switch self {
    case .notAFolder(let other) where other == path: "\(path) is not a folder"
    case .notAFolder(let other): "the folder \(path) cannot be made: \(other) is not a folder"
    case .missingParent(let parent): "the folder \(path) cannot be made: \(parent) does not exist"
    case .refused(let place, let reason) where place == path: "the folder \(path) cannot be written to: \(reason)"
    case .refused(let place, let reason): "the folder \(path) cannot be made in \(place): \(reason)"
    }
  }

  /// Nobody can make the folder as long as that stands there.
  var isSomethingElse: Bool { if case .notAFolder = self { true } else { false } }

  var hint: String? {
    switch self {
    case .notAFolder: nil
    case .missingParent: "make it first, or mount the volume that it lies on"
    case .refused: "the user that forebay runs as must be able to write there"
    }
  }

  /// Looks at this machine. For the user that asks: whether another one may write there nobody can tell.
  static let onDisk: @Sendable (String) -> FolderObstacle? = { path in
    var status = stat()
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFDIR else { return .notAFolder(path) }
      return writable(path)
    }
    switch errno {
    case ENOENT: break
    case ENOTDIR: return .notAFolder(firstNonFolder(above: path))
    default: return .refused(path: path, reason: ConfigurationFiles.errorText())
    }
    // A symbolic link that leads nowhere: mkdir(2) does not follow it.
    if lstat(path, &status) == 0 { return .notAFolder(path) }
    let parent = PathText.folder(of: path)
    guard stat(parent, &status) == 0 else { return .missingParent(parent) }
    guard status.st_mode & S_IFMT == S_IFDIR else { return .notAFolder(parent) }
    return writable(parent)
  }

  private static func writable(_ path: String) -> FolderObstacle? {
    access(path, W_OK | X_OK) == 0 ? nil : .refused(path: path, reason: ConfigurationFiles.errorText())
  }

  private static func firstNonFolder(above path: String) -> String {
    var place = path
    var status = stat()
    while place != "/" {
      place = PathText.folder(of: place)
      if stat(place, &status) == 0, status.st_mode & S_IFMT != S_IFDIR { return place }
    }
    return path
  }
}
