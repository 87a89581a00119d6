package import Telemetry

extension LogReader {
  /// The offsets of the messages that were received within `times` by the wall clock (nanoseconds): from the first
  /// to behind the last. Messages between them were perhaps received at another time, for clocks jump. Nil where
  /// there are none.
  ///
  /// A block that cannot be read counts whole, by the times that its row tells.
  package func offsets(received times: Range<Int64>) throws(SpoolError) -> Range<Offset>? {
    guard !times.isEmpty else { return nil }
    guard let first = try edge(times, last: false), let last = try edge(times, last: true) else { return nil }
    return first..<last + 1
  }

  /// The first, or the last, message that was received within `times`.
  private func edge(_ times: Range<Int64>, last: Bool) throws(SpoolError) -> Offset? {
    // Behind which block to look on. Mostly the first that fits holds such a message.
    var bound: Int64 = last ? .max : -1
    while true {
      let found = try connection.integer(
        """
        SELECT first FROM block WHERE first \(last ? "<" : ">") ?1
          AND max(wall, last_wall) >= ?2 AND min(wall, last_wall) < ?3
        ORDER BY first \(last ? "DESC" : "ASC") LIMIT 1
        """, .integer(bound), .integer(times.lowerBound), .integer(times.upperBound))
      guard let found else { return nil }
      bound = found
      switch try next(from: Offset(found)) {
      case nil: return nil
      case .unreadable(let first, let end, _), .uninteresting(let first, let end):
        return last ? end + -1 : first
      case .block(let block):
        let entries = block.group.entries
        let index =
          last
          ? entries.lastIndex { times.contains($0.wall) } : entries.firstIndex { times.contains($0.wall) }
        if let index { return block.first + index }
      }
    }
  }

  /// The offsets of `range` that the log still accounts for, its end included.
  package func held(_ range: Range<Offset>) throws(SpoolError) -> Range<Offset>? {
    let first = max(try start(), range.lowerBound)
    let last = min(try end().next, range.upperBound)
    return first < last ? first..<last : nil
  }
}
