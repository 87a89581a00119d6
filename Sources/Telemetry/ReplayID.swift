/// The permanent name of a replay: 8 lower-case hexadecimal digits, drawn at random. It stands in every batch of
/// the replay (docs/delivery-protocol.md, `Forebay-Replay`).
package struct ReplayID: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
  package let rawValue: String

  /// Nil unless `rawValue` is 8 lower-case hexadecimal digits.
  package init?(rawValue: String) {
    guard rawValue.utf8.count == 8, rawValue == rawValue.lowercased(), Hex.decode(rawValue) != nil else { return nil }
    self.rawValue = rawValue
  }

  /// Of the upper half of a random number.
  package init(random value: UInt64) {
    rawValue = Hex.encode((0..<4).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) })
  }

  package var description: String { rawValue }

  /// Parts a pipeline's name from the replay's. No pipeline can have it in its name
  /// (``BatchIdentity/isName(_:)``).
  private static let mark: Character = "#"

  /// The name under which a gateway keeps the book, the stages, the outbox and the dead letters of this replay
  /// of a pipeline: apart from the pipeline's own.
  package func book(of pipeline: String) -> String { "\(pipeline)\(ReplayID.mark)\(rawValue)" }

  /// Takes a name apart that ``book(of:)`` has made; nil for the book of a pipeline.
  package static func parse(book: String) -> (pipeline: String, replay: ReplayID)? {
    guard let mark = book.lastIndex(of: mark), let replay = ReplayID(rawValue: String(book[book.index(after: mark)...]))
    else { return nil }
    return (String(book[..<mark]), replay)
  }
}

extension Batch {
  /// The name of the book that the batch is in: its pipeline's, or that of one of its replays.
  package var book: String { replay.map { $0.book(of: identity.pipeline) } ?? identity.pipeline }
}
