internal import Telemetry

/// The encoded lines of the batch that is being filled: newline-delimited JSON,
/// `{"key":…,"time":…,"captures":{…},"data":…}` each.
struct LineBuffer: Sendable {
  /// Room; `0..<count` is filled.
  private var storage: [UInt8] = []
  private(set) var count = 0
  /// Room that is kept between batches.
  private let kept: Int
  private var times = RFC3339.Writer()

  /// - Parameter kept: bytes of room that are kept from one batch to the next; what a huge line took
  ///   beyond that is given back.
  init(keeping kept: Int) { self.kept = kept }

  /// Adds the line of a reading as it was decoded.
  mutating func append(_ reading: Reading, of payload: UnsafeRawBufferPointer, route: Route) {
    append(
      reading, of: payload, data: UnsafeRawBufferPointer(rebasing: payload[reading.data]),
      isCompact: reading.isCompact, route: route)
  }

  /// Adds the line of a reading with other data than it was decoded with.
  /// - Parameters:
  ///   - payload: what the reading's key points into.
  ///   - extra: further members of the line, each with a comma before it.
  mutating func append(
    _ reading: Reading, of payload: UnsafeRawBufferPointer, data: UnsafeRawBufferPointer, isCompact: Bool,
    route: Route, extra: [UInt8] = []
  ) {
    var key = UnsafeRawBufferPointer(start: nil, count: 0)
    if case .field(let range) = reading.key { key = UnsafeRawBufferPointer(rebasing: payload[range]) }
    let room =
      route.lineStart.count + key.count + LineBuffer.keyEnd.count + RFC3339.maximumLength
      + route.lineMiddle.count + extra.count + data.count + 2
    var times = times
    defer { self.times = times }
    write(room: room) { target in
      var writer = Writer(target)
      writer.put(route.lineStart)
      if case .field = reading.key {
        writer.put(key)
        writer.put(LineBuffer.keyEnd)
      }
      writer.advance(times.write(reading.time, to: writer.next))
      if extra.isEmpty {
        writer.put(route.lineMiddle)
      } else {
        writer.put(Array(route.lineMiddle.dropLast(Route.dataName.count)))
        writer.put(extra)
        writer.put(Route.dataName)
      }
      if isCompact {
        writer.put(data)
      } else {
        writer.advance(JSONText.compact(data, into: writer.next))
      }
      writer.put(UInt8(ascii: "}"))
      writer.put(UInt8(ascii: "\n"))
      return writer.written
    }
  }

  /// Bytes that the lines of readings take at most, if their data goes into them as it is.
  /// - Parameter isExact: whether the lengths of their times are worked out, or are the longest.
  static func bound(_ items: [ReadingDecoder.Item], route: Route, isExact: Bool) -> Int {
    var sum = 0
    for item in items {
      if case .field(let range) = item.reading.key { sum += range.count + keyEnd.count }
      sum += isExact ? RFC3339.length(item.reading.time) : RFC3339.maximumLength
      sum += route.lineStart.count + route.lineMiddle.count + item.reading.data.count + 2
    }
    return sum
  }

  /// Takes out everything as bodies of at most so many bytes and lines each; a longer line stands alone. None is
  /// empty.
  mutating func takeBodies(maximumBytes: Int, maximumCount: Int) -> [(body: [UInt8], count: Int)] {
    var bodies: [(body: [UInt8], count: Int)] = []
    var start = 0
    var end = 0
    var lines = 0
    while end < count {
      let next = (storage[end..<count].firstIndex(of: UInt8(ascii: "\n")) ?? count - 1) + 1
      if lines > 0, next - start > maximumBytes || lines == maximumCount {
        bodies.append((Array(storage[start..<end]), lines))
        (start, lines) = (end, 0)
      }
      end = next
      lines += 1
    }
    if lines > 0 { bodies.append((Array(storage[start..<end]), lines)) }
    _ = takeFirst(count)
    return bodies
  }

  /// Adds a line that is already encoded, with its line feed if it lacks one.
  mutating func append(line: [UInt8]) {
    write(room: line.count + 1) { target in
      var writer = Writer(target)
      writer.put(line)
      if line.last != UInt8(ascii: "\n") { writer.put(UInt8(ascii: "\n")) }
      return writer.written
    }
  }

  /// Takes out the first `length` bytes; what is behind them moves to the front.
  mutating func takeFirst(_ length: Int) -> [UInt8] {
    let taken = Array(storage[..<length])
    count -= length
    if storage.count > kept {
      storage = Array(storage[length..<length + count])
    } else {
      storage.withUnsafeMutableBytes { bytes in
        guard let base = bytes.baseAddress else { return }
        base.copyMemory(from: base + length, byteCount: count)
      }
    }
    return taken
  }

  private static let keyEnd = Array(#"","time":""#.utf8)

  private mutating func write(room: Int, _ body: (UnsafeMutableRawPointer) -> Int) {
    if storage.count - count < room {
      storage.append(contentsOf: repeatElement(0, count: max(room, storage.count, 4_096)))
    }
    count += storage.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return 0 }
      return body(base + count)
    }
  }

  /// Writes into room that its maker has checked.
  private struct Writer {
    private let start: UnsafeMutableRawPointer
    private(set) var next: UnsafeMutableRawPointer

    init(_ start: UnsafeMutableRawPointer) {
      self.start = start
      next = start
    }

    var written: Int { next - start }

    mutating func advance(_ length: Int) { next += length }

    mutating func put(_ byte: UInt8) {
      next.storeBytes(of: byte, as: UInt8.self)
      next += 1
    }

    mutating func put(_ bytes: UnsafeRawBufferPointer) {
      guard let base = bytes.baseAddress else { return }
      next.copyMemory(from: base, byteCount: bytes.count)
      next += bytes.count
    }

    mutating func put(_ bytes: [UInt8]) { bytes.withUnsafeBytes { put($0) } }
  }
}
