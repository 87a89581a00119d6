internal import FoundationEssentials
internal import Telemetry

/// One line of the audit log: what somebody did, in the order of the log, tied to the line before.
package struct AuditEntry: Sendable, Hashable, Codable {
  /// Bytes of a line, at most: texts are cut to fit, even where each of their bytes takes six.
  package static let maximumBytes = 12_288
  private static let maximumParameters = 8
  private static let maximumResult = 400

  /// From 1, without gaps.
  package var number: Int64
  /// RFC 3339, by the gateway's clock.
  package var time: String
  package var who: String
  package var role: String
  /// `api` or `command`.
  package var via: String
  /// `dead-letters.discard`, `uplink.pause`
  package var action: String
  /// In a few words, by name.
  package var parameters: [String: String]
  /// `begun`; and in the entry that follows when it is over, what came of it.
  package var result: String
  /// The number of the entry that says that it was begun; nil in that entry itself.
  package var begun: Int64?
  /// Bytes that power cuts have torn off, which stand between the entry before and this one; nil where none do.
  package var torn: Int?
  /// The SHA-256 of the line before, without its line feed; 64 zeros in the first of all.
  package var previous: String

  /// As it stands in the file, without the line feed.
  package func line() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(self))
  }

  /// What an entry's number can be: as far as every reader of JSON tells numbers apart.
  static let numbers: ClosedRange<Int64> = 1...1 << 53

  /// Nil for what is no entry.
  package init?(line: [UInt8]) {
    guard let entry = try? JSONDecoder().decode(AuditEntry.self, from: Data(line)),
      AuditEntry.numbers.contains(entry.number)
    else { return nil }
    self = entry
  }

  /// - Parameters: as the properties; texts are cut.
  package init(
    who: String, role: String, via: String, action: String, parameters: [String: String], result: String,
    begun: Int64? = nil, time: String
  ) {
    number = 0
    self.time = time
    self.who = who.shortened(to: 64)
    self.role = role
    self.via = via
    self.action = action
    self.parameters = Dictionary(
      uniqueKeysWithValues: parameters.sorted { $0.key < $1.key }.prefix(AuditEntry.maximumParameters).map {
        ($0.key.shortened(to: 32), $0.value.shortened(to: 128))
      })
    self.result = result.shortened(to: AuditEntry.maximumResult)
    self.begun = begun
    previous = Digest.zero.hex
  }

  /// The entry that says what came of it.
  /// - Parameter begun: the number of this one.
  func ended(_ result: String, begun: Int64?, time: String) -> AuditEntry {
    var entry = self
    entry.result = result.shortened(to: AuditEntry.maximumResult)
    entry.begun = begun
    entry.time = time
    return entry
  }
}

/// What a look at the whole log finds.
package struct AuditVerification: Sendable, Hashable {
  package var entries: Int64 = 0
  /// Of the newest entry, from where a copy elsewhere can be compared.
  package var head: String = Digest.zero.hex
  /// The first number that is there: those before were in a file that is no longer kept.
  package var first: Int64 = 1
  /// Places where a power cut tore an entry off: each confirmed by the entry behind it, or at the very end, where
  /// the next entry will confirm it.
  package var torn = 0
  /// What is wrong, by line and file; empty when every entry is tied to the one before.
  package var faults: [String] = []

  package init() {}

  package var isSound: Bool { faults.isEmpty }
}

/// Walks over the lines of the log, oldest first.
struct AuditChain {
  private(set) var verification = AuditVerification()
  /// The newest entry, and its line's digest.
  private(set) var last: (entry: AuditEntry, digest: Digest)?
  /// Lines that are no entries: torn off, if the next entry says so.
  private var unexplained: (bytes: Int, place: String, mayBeTorn: Bool)?

  /// - Parameters:
  ///   - isWhole: its line feed is there.
  ///   - place: for people.
  mutating func take(_ line: [UInt8], isWhole: Bool, place: String) {
    guard let entry = AuditEntry(line: line) else {
      // A power cut leaves the beginning of an entry. It has a line feed only where the next entry was torn, too.
      let mayBeTorn = !isWhole || line.last != UInt8(ascii: "}")
      unexplained = (
        (unexplained?.bytes ?? 0) + line.count, unexplained?.place ?? place,
        (unexplained?.mayBeTorn ?? true) && mayBeTorn
      )
      return
    }
    func fault(_ text: String) { verification.faults.append("\(place): \(text)") }
    switch (unexplained, entry.torn) {
    case (nil, nil): break
    case (let lines?, let torn?) where lines.bytes == torn: verification.torn += 1
    case (let lines?, _): verification.faults.append("\(lines.place): this is no entry")
    case (nil, .some): fault("entry \(entry.number) speaks of a torn line, and none stands there")
    }
    unexplained = nil
    if let last {
      if entry.number != last.entry.number + 1 { fault("entry \(entry.number) follows entry \(last.entry.number)") }
      if entry.previous != last.digest.hex {
        fault("entry \(entry.number) does not carry the digest of the entry before: one of them was changed")
      }
    } else {
      verification.first = entry.number
      if entry.number == 1, entry.previous != Digest.zero.hex {
        fault("the first entry carries the digest of one before it")
      }
    }
    let digest = Digest(of: line)
    last = (entry, digest)
    verification.entries += 1
    verification.head = digest.hex
  }

  /// What stands at the very end has no entry behind it that could confirm it: there it is judged by itself.
  mutating func finish() {
    if let lines = unexplained {
      if lines.mayBeTorn {
        verification.torn += 1
      } else {
        verification.faults.append("\(lines.place): this is no entry")
      }
    }
    unexplained = nil
  }
}
