import Telemetry

// The receiver's store: one file, `batches.log`, that is only ever appended to.
//
// Format, version 1. Numbers are little-endian.
//
//   file    = "FOREBAYR" version:u32 (1) zero:u32, then records
//   record  = marker check:8 bytes head-length:u32 body-length:u32 head body
//   marker  = the 8 bytes 0A 46 42 52 45 43 0A 00 (LF "FBREC" LF NUL)
//   check   = the first 8 bytes of SHA-256 over head-length, body-length, head and body
//   head    = lines "Name: value" LF in UTF-8: the header fields of the batch as they came
//             (docs/delivery-protocol.md), and of these either Forebay-Lines or Forebay-Refused
//               Forebay-Received: milliseconds since 1970, UTC
//               Forebay-Lines: first-last[,first-last...]   lines of the whole batch taken from here
//               Forebay-Refused: status reason              nothing was taken, the body is empty
//   body    = the body as it came over the wire, still compressed
//
// Invariants:
//   1. A record is appended and fsynced before its sender gets an answer.
//   2. A line of a batch is named by the Forebay-Lines of one record only.
//   3. Records are never changed. What follows the last record that can be read whole was never
//      acknowledged: it is the tail of a write that a crash tore, and is cut off at the next start.
//   4. A record that cannot be read although others follow it is damage: it stays where it is, is
//      reported with its place, and reading goes on at the next record.

/// One record of the receiver's store. Format and invariants stand at the top of this file.
struct BatchRecord: Sendable, Hashable {
  enum Outcome: Sendable, Hashable {
    /// These lines of the whole batch were taken from the body. Ascending, not empty.
    case taken([Range<Int>])
    /// Refused for good with this status.
    case refused(status: Int, reason: String)
  }

  var label: BatchLabel
  var outcome: Outcome
  /// Milliseconds since 1970-01-01T00:00:00Z by the receiver's clock.
  var received: Int64
  /// As it came over the wire; empty when the batch was refused.
  var body: [UInt8]
}

extension BatchRecord {
  static let fileHeader = Array("FOREBAYR".utf8) + [1, 0, 0, 0, 0, 0, 0, 0]
  static let marker: [UInt8] = [0x0A] + Array("FBREC".utf8) + [0x0A, 0x00]
  /// Marker, check and both lengths.
  static let prefixLength = 24
  /// No head is longer: identities and digests are bounded, and so is a refusal's reason.
  static let maximumHead = 16 << 10
  /// No body is longer, whatever the receiver was told to take.
  static let maximumBody = 1 << 30

  /// Appends the record as it stands in the file.
  func write(to output: inout [UInt8]) {
    let head = Array(self.head.utf8)
    let lengths = BatchRecord.bytes(UInt32(head.count)) + BatchRecord.bytes(UInt32(body.count))
    output += BatchRecord.marker
    output += Digest(of: lengths, head, body).bytes.prefix(8)
    output += lengths
    output += head
    output += body
  }

  private var head: String {
    var text = ""
    for (name, value) in label.fields { text += "\(name): \(value)\n" }
    text += "Forebay-Received: \(received)\n"
    switch outcome {
    case .taken(let lines):
      let ranges = lines.map { "\($0.lowerBound)-\($0.upperBound - 1)" }
      text += "Forebay-Lines: \(ranges.joined(separator: ","))\n"
    case .refused(let status, let reason):
      let line = String(reason.prefix(500).map { $0.isNewline ? " " : $0 })
      text += "Forebay-Refused: \(status) \(line)\n"
    }
    return text
  }

  /// The lengths that a prefix announces; nil when it is none.
  static func lengths(prefix: [UInt8]) -> (head: Int, body: Int)? {
    guard prefix.count == prefixLength, prefix.starts(with: marker) else { return nil }
    let head = number(prefix[16..<20])
    let body = number(prefix[20..<24])
    return head <= maximumHead && body <= maximumBody ? (head, body) : nil
  }

  /// Reads a record whose prefix was found to be one.
  init(prefix: [UInt8], head: [UInt8], body: [UInt8]) throws(BatchLabelError) {
    guard prefix[8..<16].elementsEqual(Digest(of: Array(prefix[16...]), head, body).bytes.prefix(8))
    else { throw BatchLabelError(field: "record", reason: "the checksum does not fit") }
    var fields: [String: String] = [:]
    for line in head.split(separator: UInt8(ascii: "\n")) {
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
      let value = line[(colon + 1)...].drop { $0 == UInt8(ascii: " ") }
      fields[String(decoding: line[..<colon], as: UTF8.self)] = String(decoding: value, as: UTF8.self)
    }
    label = try BatchLabel { fields[$0] }
    received = fields["Forebay-Received"].flatMap { Int64($0) } ?? 0
    self.body = body
    if let text = fields["Forebay-Lines"] {
      outcome = .taken(try BatchRecord.ranges(text, of: label.whole.count))
    } else if let text = fields["Forebay-Refused"] {
      let words = text.split(separator: " ", maxSplits: 1)
      outcome = .refused(
        status: words.first.flatMap { Int($0) } ?? 0, reason: words.count > 1 ? String(words[1]) : "")
    } else {
      throw BatchLabelError(field: "record", reason: "has neither Forebay-Lines nor Forebay-Refused")
    }
  }

  private static func ranges(_ text: String, of count: Int) throws(BatchLabelError) -> [Range<Int>] {
    var out: [Range<Int>] = []
    for item in text.split(separator: ",") {
      let bounds = item.split(separator: "-")
      guard bounds.count == 2, let first = Int(bounds[0]), let last = Int(bounds[1]),
        first >= out.last?.upperBound ?? 0, first <= last, last < count
      else { throw BatchLabelError(field: "Forebay-Lines", reason: "is not a list of lines") }
      out.append(first..<last + 1)
    }
    return out
  }

  private static func bytes(_ value: UInt32) -> [UInt8] {
    [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: value >> $0) }
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> Int {
    bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
  }
}
