internal import FoundationEssentials
internal import Logging
internal import Spool

/// What a small file in the spool's folder keeps as JSON. A file of another version counts as none: nobody knows what
/// its fields mean.
protocol VersionedDocument: Codable, Hashable, Sendable {
  var version: Int { get }
}

/// Such a file, and what stands in it: read once, then replaced by atomic rename, durably.
struct KeptDocument<Document: VersionedDocument>: Sendable {
  /// For the log: what is the matter when it cannot be read, and when it cannot be written.
  struct Words: Sendable {
    var unreadable: String
    var unwritable: String
  }

  /// Bytes that such a file can have. Anything larger is none of ours.
  static var largestFile: Int { 1 << 20 }

  private let path: String
  private let words: Words
  private let logger: Logger
  private var cannotWrite = false
  /// As it stands in the file.
  private(set) var document: Document

  /// - Parameter empty: of the version that is read; taken where there is no file that can be read.
  init(_ path: String, empty: Document, words: Words, logger: Logger) {
    self.path = path
    self.words = words
    self.logger = logger
    document = empty
    guard case .success(let contents) = ConfigurationFiles.system.read(path, Self.largestFile) else { return }
    do {
      let kept = try JSONDecoder().decode(Document.self, from: Data(contents.bytes))
      if kept.version == empty.version { document = kept }
    } catch {
      logger.warning("\(words.unreadable)", metadata: ["path": "\(path)", "cause": "\(error)"])
    }
  }

  /// Writes it where it differs from what stands there. A disk that is full is told of once; the next one is tried anew.
  mutating func write(_ next: Document) {
    guard next != document else { return }
    do {
      try FileSystem.replace(path, with: Array(try Output.json(next).utf8))
      document = next
      cannotWrite = false
    } catch {
      if !cannotWrite { logger.warning("\(words.unwritable)", metadata: ["cause": "\(error)"]) }
      cannotWrite = true
    }
  }
}
