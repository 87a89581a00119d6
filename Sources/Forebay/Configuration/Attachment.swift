internal import Telemetry

/// A file whose bytes shape what becomes of readings: a contract, a reference table, the keys of masked fields.
///
/// Unlike a password, which is read anew whenever it is needed, such a file is part of the configuration: the
/// copy that is kept for the next boot, and the one under which a dropped pipeline drains, mean nothing without
/// it. So it is collected while a configuration is decoded, and kept with it (``AttachmentStore``).
struct Attachment: Sendable, Hashable {
  enum Kind: Sendable, Hashable {
    case contract
    /// A reference table for `enrich`.
    case table
    /// Keys for tokens and hashes.
    case key

    /// Bytes.
    var limit: Int {
      switch self {
      case .contract: 1 << 20
      // What a reference table may have.
      case .table: 32 << 20
      case .key: 64 << 10
      }
    }

    /// Not for every user of the machine, and not to be quoted.
    var isSecret: Bool { self == .key }
  }

  /// Absolute, as the configuration leads to it.
  var path: String
  var digest: Digest
}

/// Collects what a configuration read while it was decoded.
///
/// A class, because every part of the reader adds to the same list; it never leaves the function that decodes.
final class AttachmentCollector {
  private var digests: [String: Digest] = [:]
  private(set) var contents: [Digest: Secret] = [:]

  func add(_ bytes: [UInt8], path: String) {
    let digest = Digest(of: bytes)
    digests[path] = digest
    contents[digest] = Secret(bytes)
  }

  /// By path.
  var attachments: [Attachment] {
    digests.map { Attachment(path: $0.key, digest: $0.value) }.sorted { $0.path < $1.path }
  }
}

extension Configuration {
  /// Puts another file in the place of an attachment.
  mutating func attach(_ bytes: [UInt8], path: String) {
    let digest = Digest(of: bytes)
    origin.attachments.removeAll { $0.path == path }
    origin.attachments.append(Attachment(path: path, digest: digest))
    origin.attachments.sort { $0.path < $1.path }
    attached[digest] = Secret(bytes)
  }
}

extension ConfigurationFiles {
  /// Where the bytes lie that a file had when a configuration ran.
  struct Copy: Sendable, Hashable {
    var path: String
    var digest: Digest
  }

  /// The bytes of a file that shapes what becomes of readings: for a configuration that is kept, those that it ran
  /// with, and what is on the disk now where they are lost; for any other, what is on the disk.
  func contents(of path: String, kind: Attachment.Kind) -> Result<Contents, Fault> {
    if let copy = copies[path], case .success(let contents) = read(copy.path, kind.limit),
      Digest(of: contents.bytes) == copy.digest
    {
      return .success(contents)
    }
    return read(path, kind.limit)
  }

  /// The names of the files in a folder in which attachments are looked for, sorted: for a configuration that is
  /// kept, those that it ran with, so that what came later is not picked in their place.
  func attachmentNames(in folder: String) -> Result<[String], Fault> {
    let kept = copies.keys.filter { PathText.folder(of: $0) == folder }
    guard kept.isEmpty else { return .success(kept.map { String($0.dropFirst(folder.count + 1)) }.sorted()) }
    return names(folder)
  }
}

extension ConfigurationValue {
  /// The path and the bytes of the file that the value names, which is kept with the configuration. What the system
  /// hands over as a credential is not: it comes anew at every start, and is not for the disk.
  ///
  /// Errors here are never tolerated in a configuration that is to run: without its keys a pipeline would deliver
  /// what must not leave.
  func attachment(_ kind: Attachment.Kind) -> (path: String, bytes: [UInt8])? {
    guard let place = placeOfFile(concern: .attachment), place.isThere else { return nil }
    return attachment(kind, at: place.path, isKept: !place.isCredential).map { (place.path, $0) }
  }

  /// The bytes of a file that the value leads to, which is kept with the configuration.
  func attachment(_ kind: Attachment.Kind, at path: String, isKept: Bool = true) -> [UInt8]? {
    switch context.files.contents(of: path, kind: kind) {
    case .failure(let fault):
      error("the file \(path) \(fault.reason)", hint: hint(for: fault), concern: .attachment)
      return nil
    case .success(let contents):
      if kind.isSecret { warnIfReadable(contents, at: path) }
      if isKept { context.attachments.add(contents.bytes, path: path) }
      return contents.bytes
    }
  }
}
