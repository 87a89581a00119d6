internal import Pipeline
internal import Spool
internal import Telemetry

/// Finds the messages that a line of a batch came from, by running them through the pipeline once more.
///
/// Where that gives the batch's own digest, it is proved which message each line came from. Where it does not -
/// the pipeline remembered something from before the batch, or a dead letter was put back - the line itself is
/// looked for, and what is found is said to be no more than that.
struct LineTracer {
  /// How sure the answer is.
  enum Certainty: String, Codable {
    /// The batch's digest came out again: no other answer is possible.
    case proved
    /// Exactly one message in the batch's range makes this line, or as many as a window's result counts.
    case matched
    /// The line came from some of these messages.
    case candidates
    /// Nothing in the log makes this line.
    case none
  }

  struct Answer {
    var certainty: Certainty
    var offsets: [Offset] = []
    /// How many there are, beyond those in `offsets` too.
    var count = 0
    /// The line, where it is known.
    var line: [UInt8]?
    /// What the answer rests on, for people.
    var reason: String
  }

  /// Offsets that are named; beyond, they are only counted.
  static let maximumOffsets = 10_000

  let batch: BatchLineage
  let settings: PipelineSettings
  let reader: LogReader

  /// - Parameters:
  ///   - batch: the whole one, also where it was split.
  ///   - settings: those of the batch's version.
  init(batch: BatchLineage, settings: PipelineSettings, reader: LogReader) {
    self.batch = batch
    self.settings = settings
    self.reader = reader
  }

  /// - Parameters:
  ///   - number: the line's, from 0; nil where `line` is all there is.
  ///   - line: the line, without its line feed, where somebody has it.
  func trace(number: Int?, line: [UInt8]?) throws -> Answer {
    let first = max(batch.firstOffset, try reader.start())
    guard reader.names.contains(batch.log), first <= batch.lastOffset else {
      return Answer(
        certainty: .none, line: line,
        reason:
          "the raw messages of this batch (log \(batch.log), offsets \(batch.firstOffset) to \(batch.lastOffset)) "
          + "are no longer kept")
    }
    if let line, let window = Window(line) { return try trace(window, line) }
    if settings.window != nil, line == nil {
      return Answer(
        certainty: .none,
        reason: "results of windows are not made again from the batch's own range; give the line with --data")
    }
    let again = try readings(from: batch.firstOffset, through: batch.lastOffset, settings)
    if again.digest == batch.digest {
      let place = number ?? line.flatMap { line in again.readings.firstIndex { $0.line == line } }
      if let place, again.readings.indices.contains(place), let offset = again.readings[place].offset,
        line == nil || line == again.readings[place].line
      {
        return Answer(
          certainty: .proved, offsets: [offset], count: 1, line: again.readings[place].line,
          reason: "running the messages again gave the batch's digest")
      }
    }
    guard let line else {
      return candidates(
        again.readings, line: nil,
        reason: "the pipeline remembered something from before this batch, so its lines cannot be counted again; give "
          + "the line with --data to narrow this down")
    }
    let equal = again.readings.filter { $0.line == line }
    switch equal.count {
    case 0:
      return Answer(
        certainty: .none, line: line,
        reason: "no message between the batch's offsets makes this line under the batch's version; was it put back "
          + "from the dead letters?")
    case 1:
      var answer = candidates(equal, line: line, reason: "only this message between the batch's offsets makes the line")
      answer.certainty = .matched
      return answer
    default:
      return candidates(equal, line: line, reason: "each of these messages makes the line")
    }
  }

  private func candidates(_ readings: [PipelineTrial.Reading], line: [UInt8]?, reason: String) -> Answer {
    var offsets: [Offset] = []
    for offset in readings.compactMap(\.offset) where offsets.last != offset { offsets.append(offset) }
    return Answer(
      certainty: .candidates, offsets: Array(offsets.prefix(LineTracer.maximumOffsets)), count: offsets.count,
      line: line, reason: reason)
  }

  // MARK: Windows

  /// What the result of a window says of itself.
  private struct Window {
    var key: [UInt8]?
    var first: Offset
    var last: Offset
    var start: Int64
    var end: Int64
    var count: Int?

    /// Nil for the line of a reading.
    init?(_ line: [UInt8]) {
      guard let fields = LineFields(line), let text = fields.fields["data.window"], let window = LineFields(text),
        let offsets = window.text("offsets").flatMap(Window.pair),
        let start = window.text("start").flatMap(Window.time),
        let end = window.text("end").flatMap(Window.time)
      else { return nil }
      key = fields.fields["key"]
      (first, last) = (Offset(min(offsets.0, offsets.1)), Offset(max(offsets.0, offsets.1)))
      (self.start, self.end) = (start, end)
      count = window.text("count").flatMap { Int($0) }
    }

    private static func pair(_ text: String) -> (Int64, Int64)? {
      let numbers = text.dropFirst().dropLast().split(separator: ",").compactMap { part in
        Int64(String(part.filter { $0 != " " }))
      }
      return numbers.count == 2 && numbers.allSatisfy { $0 >= 0 } ? (numbers[0], numbers[1]) : nil
    }

    static func time(_ text: String) -> Int64? {
      Array(text.utf8).withUnsafeBytes { try? RFC3339.nanoseconds($0) }
    }
  }

  /// The readings of the window's key and time between its offsets, as they are before the window.
  private func trace(_ window: Window, _ line: [UInt8]) throws -> Answer {
    guard window.first >= (try reader.start()) else {
      return Answer(
        certainty: .none, line: line,
        reason: "the messages of this window (from offset \(window.first)) are no longer all kept")
    }
    var before = settings
    before.window = nil
    let readings = try readings(from: window.first, through: window.last, before).readings.filter { reading in
      guard let fields = LineFields(reading.line), fields.fields["key"] == window.key,
        let time = fields.text("time").flatMap(Window.time)
      else { return false }
      return (window.start..<max(window.start, window.end)).contains(time)
    }
    var answer = candidates(
      readings, line: line, reason: "these messages hold readings of the window's key and time between its offsets")
    if readings.count == window.count {
      answer.certainty = .matched
      answer.reason += ", as many as it counts"
    } else if readings.isEmpty {
      answer.certainty = .none
      answer.reason = "no message between the window's offsets holds a reading of its key and time"
    }
    return answer
  }

  // MARK: Running again

  private func readings(
    from first: Offset, through last: Offset, _ settings: PipelineSettings
  ) throws -> PipelineTrial.Portion {
    var trial = try PipelineTrial(
      settings: settings, version: batch.version, log: batch.log, first: first, identity: batch.identity.whole,
      previous: batch.previous)
    var offset = max(first, try reader.start())
    while offset <= last {
      switch try reader.next(from: offset, interested: trial.interested) {
      case nil: offset = last + 1
      case .uninteresting(_, let end), .unreadable(_, let end, _): offset = end
      case .block(let block):
        for index in block.group.entries.indices {
          let place = block.first + index
          guard place >= offset, place <= last,
            trial.interested(in: block.group.origins[block.group.entries[index].origin])
          else { continue }
          trial.take(block.record(at: index), of: block.log)
        }
        offset = block.end
      }
    }
    return try trial.finish()
  }
}
