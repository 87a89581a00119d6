internal import Glibc
internal import Telemetry

/// How much of a file that a configuration names is looked at.
enum ReferencedFile: Sendable, Hashable {
  /// Has at least one character besides white space.
  case secret
  /// One line of visible ASCII: it becomes an HTTP header.
  case token
  /// PEM; anybody may read it.
  case certificates
  /// PEM, unencrypted, for nobody else's eyes.
  case privateKey

  /// Bytes; the system's bundle of authorities has some 220 kB.
  static let limit = 4 << 20

  var isConfidential: Bool { self != .certificates }
}

extension ConfigurationValue {
  /// An absolute path. A relative one starts from the configuration's folder, so that a folder can be
  /// moved as a whole.
  func location() -> String? {
    guard let text = text(expected: "a path") else { return nil }
    if text.hasPrefix("~") {
      error("'~' is not expanded here", hint: "write the path out")
      return nil
    }
    return PathText.absolute(text, from: context.folder)
  }

  /// The absolute path of a file that must be there and be good for its purpose. `credential:NAME`
  /// stands for a credential that systemd hands to the unit.
  func file(_ kind: ReferencedFile) -> String? {
    guard let place = placeOfFile(concern: .surroundings) else { return nil }
    if place.isThere { check(kind, at: place.path) }
    return place.path
  }

  /// Where a file lies.
  struct FilePlace {
    /// Absolute.
    var path: String
    /// systemd hands it over.
    var isCredential = false
    /// False where there are no credentials, which has been reported.
    var isThere = true
  }

  /// - Parameter concern: what it concerns when there are no credentials.
  func placeOfFile(concern: ConfigurationDiagnostic.Concern) -> FilePlace? {
    let prefix = "credential:"
    guard let text = text(expected: "a path, or credential:NAME") else { return nil }
    guard text.hasPrefix(prefix) else { return location().map { FilePlace(path: $0) } }
    let name = String(text.dropFirst(prefix.count))
    guard !name.isEmpty, name.utf8.count <= 255, !name.utf8.contains(UInt8(ascii: "/")), name != ".",
      name != ".."
    else {
      error(
        at: node.place(ofCharacter: prefix.count), "\(quoted(name)) is not the name of a credential")
      return nil
    }
    guard let folder = context.files.credentialsDirectory else {
      error(
        "there are no credentials: the process was started without $CREDENTIALS_DIRECTORY",
        hint: "add LoadCredential=\(name):/path/of/the/file to the unit, or name a file",
        concern: concern)
      // Where systemd would put it, for a configuration that is run all the same.
      return FilePlace(path: "/run/credentials/forebay.service/\(name)", isCredential: true, isThere: false)
    }
    return FilePlace(path: "\(folder)/\(name)", isCredential: true)
  }

  private func check(_ kind: ReferencedFile, at path: String) {
    switch context.files.read(path, ReferencedFile.limit) {
    case .failure(let fault):
      error("the file \(path) \(fault.reason)", hint: hint(for: fault), concern: .surroundings)
    case .success(let contents):
      if let reason = kind.fault(in: contents.bytes) {
        error("the file \(path) \(reason)", concern: .surroundings)
        return
      }
      if kind.isConfidential { warnIfReadable(contents, at: path) }
    }
  }

  func warnIfReadable(_ contents: ConfigurationFiles.Contents, at path: String) {
    // systemd guards its credentials by the folder that they lie in.
    let isGuarded = context.files.credentialsDirectory.map { PathText.isWithin(path, $0) } ?? false
    guard contents.isWorldReadable, !isGuarded else { return }
    warning(
      "the file \(path) can be read by every user of this machine", hint: "chmod o-r \(path)",
      concern: .surroundings)
  }

  func hint(for fault: ConfigurationFiles.Fault) -> String? {
    switch fault {
    case .missing: "relative paths start from \(context.folder)"
    case .refused: "the user that forebay runs as must be able to read it"
    case .notAFile, .notAFolder, .tooLarge: nil
    }
  }
}

extension ReferencedFile {
  /// What makes the bytes unfit for the purpose; nil when nothing does. Quotes nothing of them.
  func fault(in bytes: [UInt8]) -> String? {
    let isBlank = bytes.allSatisfy { $0 == 0x20 || (0x09...0x0D).contains($0) }
    if isBlank { return "is empty" }
    switch self {
    case .secret:
      return nil
    case .token:
      var token = bytes[...]
      while let last = token.last, last <= 0x20 { token = token.dropLast() }
      token = token.drop { $0 <= 0x20 }
      return token.allSatisfy({ (0x21...0x7E).contains($0) })
        ? nil : "holds no token: a token is one line of ASCII without spaces"
    case .certificates:
      return bytes.firstRange(of: "-----BEGIN CERTIFICATE-----".utf8) == nil
        && bytes.firstRange(of: "-----BEGIN TRUSTED CERTIFICATE-----".utf8) == nil
        ? "holds no certificate in PEM form" : nil
    case .privateKey:
      guard bytes.firstRange(of: "PRIVATE KEY-----".utf8) != nil else {
        return "holds no private key in PEM form"
      }
      // Nobody is there to type the passphrase when the gateway boots.
      return bytes.firstRange(of: "ENCRYPTED".utf8) == nil
        ? nil : "holds an encrypted key; forebay needs it without a passphrase"
    }
  }
}
