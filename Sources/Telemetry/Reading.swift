/// A record that a pipeline has decoded: what a device measured and when.
///
/// A reading does not own its bytes: `key` and `data` are ranges of the payload it was decoded from, so
/// that decoding allocates nothing. Its dataset is the name of the pipeline, the same for every reading
/// there, and is not repeated in each.
package struct Reading: Sendable, Hashable {
  /// What names the device.
  package enum Key: Sendable, Hashable {
    /// The pipeline has none.
    case none
    /// A level of the topic, the same for every reading of one origin.
    case topic
    /// Bytes of the payload: the inside of a JSON string, escapes as they stand, or a JSON number.
    case field(Range<Int>)
  }

  package var key: Key
  /// Event time: nanoseconds since 1970-01-01T00:00:00Z.
  package var time: Int64
  /// The bytes of the payload that are the reading: one JSON object.
  package var data: Range<Int>
  /// Whether `data` holds no whitespace outside of strings.
  package var isCompact: Bool
  /// Where in the log it came from.
  package var offset: Offset

  package init(key: Key, time: Int64, data: Range<Int>, isCompact: Bool, offset: Offset) {
    self.key = key
    self.time = time
    self.data = data
    self.isCompact = isCompact
    self.offset = offset
  }
}
