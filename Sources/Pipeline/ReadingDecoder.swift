internal import Telemetry

/// From a payload to its ``Reading``s: format checked, objects, keys and event times found.
struct ReadingDecoder: Sendable {
  /// One of the payload's readings, and where its object stands on the tape.
  struct Item: Sendable {
    var reading: Reading
    var index: Int
  }

  /// What a message says for all of its readings.
  private struct Common {
    var key: JSONTape.Value?
    var time: JSONTape.Value?
  }

  /// What the settings say. One object, because looking at its fields counts no references, as it would for each of
  /// them in the decoder itself for every message.
  private final class Rules: Sendable {
    /// Of JSON that is not UTF-8.
    let characterSet: CharacterSet?
    let each: FieldPath?
    let key: FieldPath?
    let time: FieldPath?
    let unit: PipelineSettings.TimeUnit
    let limits: MessageLimits

    init(settings: PipelineSettings) {
      characterSet = if case .json(let set) = settings.format, set != .utf8 { set } else { nil }
      each = settings.each
      key = settings.keyPath
      limits = settings.limits
      if case .field(let path, let unit) = settings.time {
        time = path
        self.unit = unit
      } else {
        time = nil
        unit = .nanoseconds
      }
    }
  }

  /// The room for a transcoded payload stays for the next one up to so many bytes: one that was larger than all others
  /// must not cost its memory for ever.
  private static let keptBytes = 1 << 20

  private let rules: Rules
  private var transcoder: (any Transcoder)?
  /// Whether payloads are turned into an array of readings.
  private let isTranscoded: Bool

  /// What the payload was turned into, where it is not JSON itself.
  private var transcoded: [UInt8] = []
  private var isOwnText = false
  private(set) var tape = JSONTape()
  private(set) var items: [Item] = []

  init(settings: PipelineSettings) {
    rules = Rules(settings: settings)
    transcoder = settings.format.transcoder()
    isTranscoded = transcoder != nil
  }

  /// Reads one payload. Its readings are in ``items`` until the next: all of them, or an error and none.
  /// - Parameters:
  ///   - keyIsInTopic: whether the topic has given the key, so that the payload need not.
  ///   - received: wall nanoseconds, the event time of pipelines that take it from the receipt.
  mutating func decode(
    _ payload: UnsafeRawBufferPointer, keyIsInTopic: Bool, received: Int64, offset: Offset
  ) throws(Refusal) {
    // Nearly always one, which is taken away for less.
    if items.count == 1 { items.removeLast() } else { items.removeAll(keepingCapacity: true) }
    do throws(Refusal) {
      try decodeAll(payload, keyIsInTopic: keyIsInTopic, received: received, offset: offset)
    } catch {
      items.removeAll(keepingCapacity: true)
      throw error
    }
  }

  private mutating func decodeAll(
    _ payload: UnsafeRawBufferPointer, keyIsInTopic: Bool, received: Int64, offset: Offset
  ) throws(Refusal) {
    isOwnText = isTranscoded || rules.characterSet != nil
    guard isOwnText else {
      return try read(payload, keyIsInTopic: keyIsInTopic, received: received, offset: offset)
    }
    var text: [UInt8] = []
    swap(&text, &transcoded)
    defer { swap(&text, &transcoded) }
    text.removeAll(keepingCapacity: text.capacity <= ReadingDecoder.keptBytes)
    if let characterSet = rules.characterSet { text = try characterSet.utf8(from: payload) }
    try transcoder?.transcode(payload, received: received, into: &text)
    let outcome: Result<Void, Refusal> = text.withUnsafeBytes { text in
      do throws(Refusal) {
        return .success(try read(text, keyIsInTopic: keyIsInTopic, received: received, offset: offset))
      } catch { return .failure(error) }
    }
    try outcome.get()
  }

  /// Reads a line that a stage behind the decoder has set aside: its one reading is in ``items`` then.
  mutating func decode(
    line: UnsafeRawBufferPointer, keyIsInTopic: Bool, offset: Offset
  ) throws(Refusal) {
    items.removeAll(keepingCapacity: true)
    isOwnText = false
    do throws(JSONError) { try tape.read(line) } catch { throw Refusal(.line, "the dead letter is no line: \(error)") }
    func member(_ name: String, _ kind: JSONKind) -> Int? {
      tape.member(Array(name.utf8), of: 0, in: line).flatMap { tape.values[$0].kind == kind ? $0 : nil }
    }
    guard let time = member("time", .string), let data = member("data", .object),
      let moment = try? RFC3339.nanoseconds(UnsafeRawBufferPointer(rebasing: line[tape.values[time].content]))
    else { throw Refusal(.line, "the dead letter is no line with time and data") }
    let key = member("key", .string).map { Reading.Key.field(tape.values[$0].content) } ?? .none
    items.append(
      Item(
        reading: Reading(
          key: keyIsInTopic ? .topic : key, time: moment, data: tape.values[data].range, isCompact: true,
          offset: offset), index: data))
  }

  /// Drops all readings but one, by its number from 0.
  mutating func keepOnly(reading number: Int) throws(Refusal) {
    guard items.indices.contains(number) else {
      throw Refusal(
        .readingMissing,
        "it was reading \(number) of its message, counted from 0, in which today's decoder finds \(items.count)")
    }
    items = [items[number]]
  }

  /// What the items' ranges and the tape point into; nil: the payload.
  var text: [UInt8]? { isOwnText ? transcoded : nil }

  private mutating func read(
    _ text: UnsafeRawBufferPointer, keyIsInTopic: Bool, received: Int64, offset: Offset
  ) throws(Refusal) {
    do throws(JSONError) { try tape.read(text) } catch { throw Refusal(error) }
    guard isTranscoded else {
      return try appendReadings(in: 0, element: nil, text, keyIsInTopic, received, offset)
    }
    var child = 1
    var element = 0
    while child < tape.values[0].next {
      try appendReadings(in: child, element: element, text, keyIsInTopic, received, offset)
      child = tape.values[child].next
      element += 1
    }
  }

  /// One reading, or one for each element of its array.
  private mutating func appendReadings(
    in root: Int, element: Int?, _ text: UnsafeRawBufferPointer, _ keyIsInTopic: Bool, _ received: Int64,
    _ offset: Offset
  ) throws(Refusal) {
    guard let each = rules.each else {
      return try append(root, of: Common(), element: element, text, keyIsInTopic, received, offset)
    }
    guard let array = tape.index(of: each, from: root, in: text) else {
      throw Refusal(.eachMissing, "the payload has no field \"\(each)\" to take the readings from")
    }
    guard tape.values[array].kind == .array else {
      throw Refusal(
        .eachType, "the field \"\(each)\" is \(tape.values[array].kind.phrase) and must be an array of readings")
    }
    // What the message says for all is looked for once.
    let common = Common(
      key: rules.key.flatMap { tape.index(of: $0, from: root, in: text) }.map { tape.values[$0] },
      time: rules.time.flatMap { tape.index(of: $0, from: root, in: text) }.map { tape.values[$0] })
    var child = array + 1
    var number = 0
    while child < tape.values[array].next {
      try append(child, of: common, element: number, text, keyIsInTopic, received, offset)
      child = tape.values[child].next
      number += 1
    }
  }

  private mutating func append(
    _ index: Int, of common: Common, element: Int?, _ text: UnsafeRawBufferPointer, _ keyIsInTopic: Bool,
    _ received: Int64, _ offset: Offset
  ) throws(Refusal) {
    do throws(Refusal) {
      let value = tape.values[index]
      guard value.kind == .object else {
        throw Refusal(
          .notObject, "the \(element == nil ? "payload" : "element") is \(value.kind.phrase) and must be an object")
      }
      let reading = Reading(
        key: keyIsInTopic ? .topic : try key(of: index, common.key, text),
        time: try time(of: index, common.time, text) ?? received, data: value.range, isCompact: !tape.hasWhitespace,
        offset: offset)
      items.append(Item(reading: reading, index: index))
    } catch {
      guard let element else { throw error }
      throw Refusal(error.rule, "reading \(element + 1): \(error.reason)")
    }
  }

  /// A reading's field, or else the message's: gateways often name the device once for many readings.
  private func find(
    _ path: FieldPath, of index: Int, _ common: JSONTape.Value?, _ text: UnsafeRawBufferPointer
  ) -> JSONTape.Value? {
    tape.index(of: path, from: index, in: text).map { tape.values[$0] } ?? common
  }

  private func key(
    of index: Int, _ common: JSONTape.Value?, _ text: UnsafeRawBufferPointer
  ) throws(Refusal) -> Reading.Key {
    guard let key = rules.key else { return .none }
    guard let value = find(key, of: index, common, text) else {
      throw Refusal(.keyMissing, "the payload has no field \"\(key)\" to take the key from")
    }
    guard value.kind == .string || value.kind == .number else {
      throw Refusal(
        .keyType, "the key field \"\(key)\" is \(value.kind.phrase) and must be a string or a number")
    }
    if let excess = rules.limits.excess(keyOf: value.content.count) { throw excess }
    return .field(value.content)
  }

  /// Nil for pipelines that take the event time from the receipt.
  private func time(
    of index: Int, _ common: JSONTape.Value?, _ text: UnsafeRawBufferPointer
  ) throws(Refusal) -> Int64? {
    guard let path = rules.time else { return nil }
    let unit = rules.unit
    guard let value = find(path, of: index, common, text) else {
      throw Refusal(.timeMissing, "the payload has no field \"\(path)\" to take the event time from")
    }
    let expected: JSONKind = unit == .rfc3339 ? .string : .number
    guard value.kind == expected else {
      throw Refusal(
        .timeType, "the time field \"\(path)\" is \(value.kind.phrase) and must be \(expected.phrase)")
    }
    // Put together only where it is needed.
    var outside: String { "the time field \"\(path)\" lies outside of 1970-01-01 to 2262-04-11" }
    let content = UnsafeRawBufferPointer(rebasing: text[value.content])
    guard unit == .rfc3339 else {
      guard let time = EventTime.nanoseconds(number: content, unit: unit) else {
        throw Refusal(.timeRange, "\(outside), read as a number of \(unit.phrase)")
      }
      return time
    }
    do throws(RFC3339.Failure) {
      guard value.hasEscapes else { return try RFC3339.nanoseconds(content) }
      let result: Result<Int64, RFC3339.Failure> = JSONText.unescape(content).withUnsafeBytes { plain in
        do throws(RFC3339.Failure) { return .success(try RFC3339.nanoseconds(plain)) } catch {
          return .failure(error)
        }
      }
      return try result.get()
    } catch {
      switch error {
      case .range: throw Refusal(.timeRange, outside)
      case .syntax:
        throw Refusal(
          .timeSyntax,
          "the time field \"\(path)\" is not an RFC 3339 time such as 2026-11-21T03:18:00.5Z")
      }
    }
  }
}

extension PipelineSettings.TimeUnit {
  fileprivate var phrase: String {
    switch self {
    case .seconds: "seconds"
    case .milliseconds: "milliseconds"
    case .microseconds: "microseconds"
    case .nanoseconds: "nanoseconds"
    case .rfc3339: "RFC 3339 times"
    }
  }
}
