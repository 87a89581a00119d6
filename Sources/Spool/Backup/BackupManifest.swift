internal import FoundationEssentials
internal import Telemetry

/// What a backup says of itself, `manifest.json` in the archive: written last, so that an archive that was cut off has
/// none.
package struct BackupManifest: Sendable, Hashable, Codable {
  package struct File: Sendable, Hashable, Codable {
    package var name: String
    package var size: Int64
    /// SHA-256, hexadecimal.
    package var sha256: String
  }

  package struct Log: Sendable, Hashable, Codable {
    package var id: String
    /// The first offset that it holds, and the one that the next message would have got.
    package var start: Int64
    package var next: Int64
    package var received: Int64
  }

  package struct Pipeline: Sendable, Hashable, Codable {
    package var name: String
    package var active: Bool
    package var epoch: String
    /// The sequence that its next batch would have got.
    package var sequence: Int64
    package var log: String
    package var checkpoint: Int64
  }

  /// The newest form that this version writes and reads.
  package static let newest = 1
  /// Bytes of the file at most: attachments and pipelines take some hundred each.
  static let limit: Int64 = 16 << 20

  /// The form of the archive.
  package var format = BackupManifest.newest
  /// The version of Forebay that wrote it.
  package var forebay: String
  /// Of the databases.
  package var stateFormat: Int64
  package var logFormat: Int64
  /// When the copy was cut, in nanoseconds since 1970 by the gateway's clock, and the same for people.
  package var wall: Int64
  package var time: String
  /// Names of the gateway that pipelines delivered under; mostly one.
  package var gateways: [String]
  /// Where the spool and the configuration lay.
  package var spool: String
  package var configuration: String?
  /// Where the tokens of the API lay; nil without them.
  package var tokens: String?
  package var log: Log
  package var pipelines: [Pipeline]
  /// Whether the books balanced at the cut.
  package var balances: Bool
  /// In the order of the archive.
  package var files: [File] = []

  /// Bytes of all files.
  package var bytes: Int64 { files.reduce(0) { $0 + $1.size } }

  func encoded() -> [UInt8]? {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
    return (try? encoder.encode(self)).map { Array($0) + [UInt8(ascii: "\n")] }
  }

  /// Nil for what is no manifest.
  static func decoded(_ bytes: [UInt8]) -> BackupManifest? {
    try? JSONDecoder().decode(BackupManifest.self, from: Data(bytes))
  }

  /// The form alone, which a later version writes as well.
  static func format(of bytes: [UInt8]) -> Int? {
    struct Form: Decodable { var format: Int }
    return (try? JSONDecoder().decode(Form.self, from: Data(bytes)))?.format
  }
}

/// The names within an archive.
enum BackupNames {
  /// So that unpacking makes one folder.
  static let folder = "forebay-backup/"
  static let manifest = "manifest.json"
  static let manifestDigest = "manifest.sha256"
  static let tokens = "tokens"
  /// More than the files that a configuration may refer to.
  static let limit = 10_000

  /// Whether a backup may hold a file of that name: nothing else is ever written to disk.
  static func isKnown(_ name: String) -> Bool {
    if SpoolFiles.databases.contains(name) || SpoolFiles.kept.contains(name) || name == tokens { return true }
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0] == SpoolFiles.attachments else { return false }
    return Digest(hex: String(parts[1]))?.hex == String(parts[1])
  }

  /// Where a file of the archive comes to lie within the spool's folder.
  static func place(of name: String) -> String { name == tokens ? SpoolFiles.tokens : name }
}
