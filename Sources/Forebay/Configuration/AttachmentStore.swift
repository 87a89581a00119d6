internal import Glibc
internal import Spool
internal import Telemetry

/// `<spool.directory>/attachments`: the bytes of every attachment of the configurations that may be needed again,
/// once each, in files that are named by their SHA-256.
///
/// For the daemon's user only (0700, files 0600), because keys may be among them; so `state.db` and the kept
/// configuration, which end in tickets and backups, hold paths and digests only.
struct AttachmentStore: Sendable, Hashable {
  let folder: String

  /// - Parameter directory: the spool's.
  init(spool directory: String) { folder = "\(directory)/attachments" }

  private func path(_ digest: Digest) -> String { "\(folder)/\(digest.hex)" }

  /// Writes what is not there yet, safe from a power cut.
  func keep(_ contents: [Digest: Secret]) throws(SpoolError) {
    guard !contents.isEmpty else { return }
    _ = mkdir(folder, 0o700)
    for (digest, secret) in contents.sorted(by: { $0.key.hex < $1.key.hex }) {
      try FileSystem.replace(path(digest), with: secret.revealed, mode: 0o600)
    }
  }

  /// Deletes everything but these, and what a write that was cut off left behind.
  func prune(keeping digests: Set<Digest>) {
    let kept = Set(digests.map(\.hex))
    for name in (try? ConfigurationFiles.system.names(folder).get()) ?? [] where !kept.contains(name) {
      unlink("\(folder)/\(name)")
    }
  }

  /// The machine as a kept configuration sees it: its attachments are as they were when it ran.
  func overlay(_ files: ConfigurationFiles, with attachments: [Attachment]) -> ConfigurationFiles {
    var files = files
    for attachment in attachments {
      files.copies[attachment.path] = ConfigurationFiles.Copy(
        path: path(attachment.digest), digest: attachment.digest)
    }
    return files
  }
}
