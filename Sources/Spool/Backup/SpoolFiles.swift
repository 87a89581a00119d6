/// The files of a spool's folder, by what becomes of them in a backup and in a restore.
package enum SpoolFiles {
  /// Both databases, in the order in which they are copied.
  static let databases = [Database.state.rawValue, Database.log.rawValue]

  /// Small files that a backup takes beside the databases, where they are there. Who writes them stands in
  /// docs/architecture.md.
  package static let kept = [
    "mirror.json", "configuration.yaml", "paused-uplinks.json", "oversight", "notified.json", "broker-drops.json",
    "audit-log.1.jsonl", "audit-log.jsonl",
  ]
  /// The folder of the files that the configurations refer to, each named by its SHA-256.
  package static let attachments = "attachments"
  /// The tokens of the API, which lie beside the configuration: a restore leaves them here, for whoever restores to
  /// put them into their place.
  package static let tokens = "tokens.restored"

  /// What belongs to a process, a file system or another state than the one that is copied, and is in no backup.
  package static let left = [
    "lock", "ballast", "quarantine", "forebay.sock", "audit-log.lock", Restoration.folder, Restoration.marker,
  ]

  /// What a restore moves away before it puts its own in place.
  static var replaced: [String] {
    databases.flatMap { name in
      ["", "-wal", "-shm", ".damaged", ".new", ".new-wal", ".new-shm"].map { name + $0 }
    } + kept + [attachments, tokens]
  }
}
