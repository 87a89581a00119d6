package import Telemetry

/// What of the status outlives the process: the history of the objectives, where the counters stood that it was made
/// from, and the alarms that last, as few bytes.
///
/// Format 1, in this order; numbers are unsigned LEB128 (``PackedWriter``):
/// ```
/// "FBSK" 1                         name and format
/// time                             of the book, seconds
/// time  boot (16 bytes)  monotonic  wall (seconds; 0: not synchronised)     ObjectiveBook.Anchor
/// the minutes watched:             rings as below
/// number of objectives, each:      name (text), beginning (seconds), then the rings of EventHistory.shape, each:
///   newest, then its buckets from the oldest to the newest, as runs:
///     empty buckets before it, good, bad      until all buckets are told; a run of empty ones alone at the end
/// number of alarms, each:          kind, subject, text (texts), 1 for a page or 0, since (seconds)
/// number of pipelines, each:       name (text), delivery (good, bad), errors (good, bad), letters,
///                                  1 and missing, produced, or 0             PipelineMark
/// the first 8 bytes of the SHA-256 of all that
/// ```
/// An objective with events all the time takes 3 to 6 bytes for each of 273 buckets: all eight take 6 to 13 kB.
package struct KeptStatus: Sendable {
  /// Why kept bytes cannot be used.
  package struct Damage: Error, Sendable, Hashable, CustomStringConvertible {
    package var description: String
  }

  private static let mark = Array("FBSK".utf8) + [1]
  private static let checksumLength = 8
  /// Seconds, and numbers of buckets, at most: 35,000 years. What is reckoned with them stays far from the end of 64
  /// bits.
  private static let longestTime: Int64 = 1 << 40
  /// Bytes of a name or a subject at most.
  private static let longestName = 256

  package var book: ObjectiveBook
  package var alarms: [Alarm]
  /// By pipeline; as old as the book: together they lose nothing and count nothing twice.
  package var marks: [String: PipelineMark]

  package init(book: ObjectiveBook, alarms: [Alarm], marks: [String: PipelineMark] = [:]) {
    self.book = book
    self.alarms = alarms
    self.marks = marks
  }

  /// - Parameter now: of the last look.
  package func encoded(now: Moment) -> [UInt8] {
    var writer = PackedWriter()
    writer.append(raw: KeptStatus.mark)
    let anchor = book.anchor(at: now)
    writer.append(book.time)
    writer.append(anchor.time)
    for word in [anchor.boot.high, anchor.boot.low] {
      writer.append(raw: (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) })
    }
    writer.append(anchor.monotonic)
    writer.append(anchor.wall ?? 0)
    for ring in book.watched.rings { KeptStatus.append(ring, to: &writer) }
    let histories = book.histories.sorted { $0.key.rawValue < $1.key.rawValue }
    writer.append(UInt64(histories.count))
    for (name, history) in histories {
      writer.append(name.rawValue)
      writer.append(book.beginnings[name] ?? 0)
      for ring in history.rings { KeptStatus.append(ring, to: &writer) }
    }
    writer.append(UInt64(alarms.count))
    for alarm in alarms {
      writer.append(alarm.kind)
      writer.append(AlarmBoard.shortened(alarm.subject, to: KeptStatus.longestName))
      writer.append(AlarmBoard.shortened(alarm.text))
      writer.append(alarm.severity == .page ? 1 as UInt64 : 0)
      writer.append(alarm.since / 1_000_000_000)
    }
    let marks = marks.filter { $0.key.utf8.count <= KeptStatus.longestName }
    writer.append(UInt64(marks.count))
    for (name, mark) in marks.sorted(by: { $0.key < $1.key }) {
      writer.append(name)
      for events in [mark.delivery, mark.errors] {
        writer.append(events.good)
        writer.append(events.bad)
      }
      writer.append(mark.letters)
      writer.append(mark.numbers == nil ? 0 as UInt64 : 1)
      if let numbers = mark.numbers {
        writer.append(numbers.missing)
        writer.append(numbers.produced)
      }
    }
    writer.append(raw: Digest(of: writer.bytes).bytes.prefix(KeptStatus.checksumLength))
    return writer.bytes
  }

  private static func append(_ ring: EventHistory.Ring, to writer: inout PackedWriter) {
    writer.append(ring.newest)
    var empty: UInt64 = 0
    for bucket in (ring.newest - Int64(ring.count) + 1)...ring.newest {
      let place = bucket < 0 ? nil : ring.place(bucket)
      let (good, bad) = place.map { (ring.good[$0], ring.bad[$0]) } ?? (0, 0)
      guard good > 0 || bad > 0 else {
        empty += 1
        continue
      }
      writer.append(empty)
      writer.append(UInt64(good))
      writer.append(UInt64(bad))
      empty = 0
    }
    if empty > 0 { writer.append(empty) }
  }

  /// - Parameter settings: what is kept of objectives that are not among them is forgotten.
  package init(_ bytes: [UInt8], settings: [ObjectiveName: ObjectiveSettings]) throws(Damage) {
    let end = bytes.count - KeptStatus.checksumLength
    guard bytes.starts(with: KeptStatus.mark), end >= KeptStatus.mark.count else {
      throw Damage(description: "it does not begin as such a file does, or is of another version")
    }
    guard Digest(of: Array(bytes[..<end])).bytes.starts(with: bytes[end...]) else {
      throw Damage(description: "its checksum does not fit")
    }
    let longest = KeptStatus.longestTime
    do throws(PackedReader.Damage) {
      var reader = PackedReader(bytes[KeptStatus.mark.count..<end])
      let time = try reader.integer(upTo: longest)
      let anchorTime = try reader.integer(upTo: longest)
      let boot = try reader.raw(16)
      func word(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
      let monotonic = try reader.integer(upTo: longest)
      let wall = try reader.integer(upTo: longest)
      let watched = try KeptStatus.history(from: &reader)
      var histories: [ObjectiveName: EventHistory] = [:]
      var beginnings: [ObjectiveName: Int64] = [:]
      for _ in 0..<(try reader.number()) {
        let name = ObjectiveName(rawValue: try reader.text(longest: KeptStatus.longestName))
        let beginning = try reader.integer(upTo: longest)
        let history = try KeptStatus.history(from: &reader)
        if let name {
          histories[name] = history
          beginnings[name] = beginning
        }
      }
      var alarms: [Alarm] = []
      for _ in 0..<(try reader.number()) {
        let kind = try reader.text(longest: KeptStatus.longestName)
        let subject = try reader.text(longest: KeptStatus.longestName)
        let text = try reader.text(longest: AlarmBoard.longestText)
        let isPage = try reader.number() == 1
        let since = try reader.integer()
        guard since < Int64.max / 1_000_000_000 else { throw PackedReader.Damage() }
        alarms.append(
          Alarm(
            kind: kind, subject: subject, severity: isPage ? .page : .ticket, text: text,
            since: since * 1_000_000_000))
      }
      marks = try KeptStatus.marks(from: &reader)
      guard reader.isAtEnd else { throw PackedReader.Damage() }
      book = ObjectiveBook(
        settings, histories: histories, beginnings: beginnings, watched: watched, time: time,
        anchor: ObjectiveBook.Anchor(
          time: anchorTime, boot: BootID(high: word(boot[..<8]), low: word(boot[8...])), monotonic: monotonic,
          wall: wall > 0 ? wall : nil))
      self.alarms = alarms
    } catch {
      throw Damage(description: "what stands in it makes no sense")
    }
  }

  private static func marks(from reader: inout PackedReader) throws(PackedReader.Damage) -> [String: PipelineMark] {
    var marks: [String: PipelineMark] = [:]
    for _ in 0..<(try reader.number()) {
      let name = try reader.text(longest: longestName)
      var mark = PipelineMark(
        delivery: EventCount(good: try reader.integer(), bad: try reader.integer()),
        errors: EventCount(good: try reader.integer(), bad: try reader.integer()), letters: try reader.integer())
      if try reader.number() == 1 {
        mark.numbers = PipelineMark.Numbers(missing: try reader.integer(), produced: try reader.integer())
      }
      marks[name] = mark
    }
    return marks
  }

  private static func history(from reader: inout PackedReader) throws(PackedReader.Damage) -> EventHistory {
    var rings: [EventHistory.Ring] = []
    for shape in EventHistory.shape { rings.append(try ring(shape, from: &reader)) }
    return EventHistory(rings: rings)
  }

  private static func ring(
    _ shape: (width: Int64, count: Int), from reader: inout PackedReader
  ) throws(PackedReader.Damage) -> EventHistory.Ring {
    var ring = EventHistory.Ring(width: shape.width, count: shape.count)
    ring.newest = try reader.integer(upTo: longestTime)
    var bucket = ring.newest - Int64(shape.count) + 1
    while bucket <= ring.newest {
      let empty = try reader.integer()
      guard empty <= ring.newest - bucket + 1 else { throw PackedReader.Damage() }
      bucket += empty
      guard bucket <= ring.newest else { break }
      guard bucket >= 0, let good = UInt32(exactly: try reader.number()),
        let bad = UInt32(exactly: try reader.number())
      else { throw PackedReader.Damage() }
      ring.good[ring.place(bucket)] = good
      ring.bad[ring.place(bucket)] = bad
      bucket += 1
    }
    return ring
  }
}
