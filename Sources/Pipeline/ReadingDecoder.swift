internal import Telemetry

/// Why a payload is no reading: the rule, and the reason for people.
struct Refusal: Error, Sendable, Hashable {
  /// The rules of the stage `decode`; dead letters are filtered and counted by these names.
  enum Rule: String, Sendable {
    case empty = "json.empty"
    case syntax = "json.syntax"
    case depth = "json.depth"
    case utf8 = "json.utf8"
    case notObject = "json.not-object"
    case keyMissing = "key.missing"
    case keyType = "key.type"
    case timeMissing = "time.missing"
    case timeType = "time.type"
    case timeSyntax = "time.syntax"
    case timeRange = "time.range"
    /// Only of a dead letter that is put back: its topic or source is no longer one of the pipeline's.
    case unmatched = "topic.unmatched"
    /// Only of a dead letter that is put back: it is not one encoded reading.
    case line = "line.malformed"
  }

  var rule: Rule
  var reason: String

  init(_ rule: Rule, _ reason: String) {
    self.rule = rule
    self.reason = reason
  }

  init(_ error: JSONError) {
    let rule: Rule =
      switch error.kind {
      case .empty: .empty
      case .tooDeep: .depth
      case .invalidUTF8, .loneSurrogate: .utf8
      default: .syntax
      }
    self.init(rule, error.description)
  }
}

/// From a payload to a ``Reading``: JSON checked, key and event time found.
struct ReadingDecoder: Sendable {
  private var reader: JSONReader
  private let keyField: (name: String, index: Int)?
  private let timeField: (name: String, index: Int, unit: PipelineSettings.TimeUnit)?

  init(settings: PipelineSettings) {
    var fields: [String] = []
    // The same field may be both.
    func index(of name: String) -> Int {
      if let known = fields.firstIndex(where: { $0.utf8.elementsEqual(name.utf8) }) { return known }
      fields.append(name)
      return fields.count - 1
    }
    keyField = settings.key.map { ($0, index(of: $0)) }
    timeField =
      if case .field(let name, let unit) = settings.time { (name, index(of: name), unit) } else { nil }
    reader = JSONReader(fields: fields)
  }

  /// - Parameters:
  ///   - keyIsInTopic: whether the topic has given the key, so that the payload need not.
  ///   - received: wall nanoseconds, the event time of pipelines that take it from the receipt.
  mutating func decode(
    _ payload: UnsafeRawBufferPointer, keyIsInTopic: Bool, received: Int64, offset: Offset
  ) throws(Refusal) -> Reading {
    do throws(JSONError) { try reader.read(payload) } catch { throw Refusal(error) }
    guard reader.root.kind == .object else {
      throw Refusal(.notObject, "the payload is \(reader.root.kind.phrase) and must be an object")
    }
    return Reading(
      key: keyIsInTopic ? .topic : try key(), time: try time(payload) ?? received,
      data: reader.root.range, isCompact: !reader.hasWhitespace, offset: offset)
  }

  private func key() throws(Refusal) -> Reading.Key {
    guard let keyField else { return .none }
    guard let slice = reader.members[keyField.index] else {
      throw Refusal(.keyMissing, "the payload has no field \"\(keyField.name)\" to take the key from")
    }
    guard slice.kind == .string || slice.kind == .number else {
      throw Refusal(
        .keyType,
        "the key field \"\(keyField.name)\" is \(slice.kind.phrase) and must be a string or a number")
    }
    return .field(slice.content)
  }

  /// Nil for pipelines that take the event time from the receipt.
  private func time(_ payload: UnsafeRawBufferPointer) throws(Refusal) -> Int64? {
    guard let (name, index, unit) = timeField else { return nil }
    guard let slice = reader.members[index] else {
      throw Refusal(.timeMissing, "the payload has no field \"\(name)\" to take the event time from")
    }
    let expected: JSONKind = unit == .rfc3339 ? .string : .number
    guard slice.kind == expected else {
      throw Refusal(
        .timeType, "the time field \"\(name)\" is \(slice.kind.phrase) and must be \(expected.phrase)")
    }
    let outside = "the time field \"\(name)\" lies outside of 1970-01-01 to 2262-04-11"
    let text = UnsafeRawBufferPointer(rebasing: payload[slice.content])
    guard unit == .rfc3339 else {
      guard let time = EventTime.nanoseconds(number: text, unit: unit) else {
        throw Refusal(.timeRange, "\(outside), read as a number of \(unit.phrase)")
      }
      return time
    }
    do throws(RFC3339.Failure) {
      guard slice.hasEscapes else { return try RFC3339.nanoseconds(text) }
      let result: Result<Int64, RFC3339.Failure> = JSONText.unescape(text).withUnsafeBytes { plain in
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
          "the time field \"\(name)\" is not an RFC 3339 time such as 2026-11-21T03:18:00.5Z")
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
