/// Why a payload is no reading: the rule, and the reason for people.
package struct Refusal: Error, Sendable, Hashable {
  /// The rules of the stage `decode`; dead letters are filtered and counted by these names.
  package enum Rule: String, Sendable {
    case empty = "json.empty"
    case syntax = "json.syntax"
    case depth = "json.depth"
    case utf8 = "json.utf8"
    case notObject = "json.not-object"
    case eachMissing = "each.missing"
    case eachType = "each.type"
    case keyMissing = "key.missing"
    case keyType = "key.type"
    case timeMissing = "time.missing"
    case timeType = "time.type"
    case timeSyntax = "time.syntax"
    case timeRange = "time.range"
    /// Bytes that are no text in the character set that the settings name.
    case characterSet = "text.charset"
    // More than ``MessageLimits`` allow.
    case payloadSize = "payload.size"
    case topicLength = "topic.length"
    case topicLevels = "topic.levels"
    case keyLength = "key.length"
    case propertyCount = "properties.count"
    case propertySize = "properties.size"
    /// The readings, written out as JSON, are larger than ``Transcoding/maximumBytes``.
    case outputSize = "decode.size"
    case cborSyntax = "cbor.syntax"
    case cborDepth = "cbor.depth"
    /// A map's key that is neither a text nor an integer.
    case cborKey = "cbor.key"
    /// A bignum that is longer than is worth writing out.
    case cborNumber = "cbor.number"
    case cborNotMap = "cbor.not-map"
    /// A pack that is no array of records, or a record whose fields are not as RFC 8428 has them.
    case senmlRecord = "senml.record"
    /// A pack of a later version, or of several.
    case senmlVersion = "senml.version"
    /// A field that must be understood and is not.
    case senmlField = "senml.field"
    case senmlRange = "senml.range"
    case lineProtocolSyntax = "line-protocol.syntax"
    case lineProtocolValue = "line-protocol.value"
    case lineProtocolTag = "line-protocol.tag"
    case lineProtocolTime = "line-protocol.time"
    case csvSyntax = "csv.syntax"
    case csvHeader = "csv.header"
    case csvColumns = "csv.columns"
    case scalarEmpty = "scalar.empty"
    /// Only of a dead letter that is put back: its topic or source is no longer one of the pipeline's.
    case unmatched = "topic.unmatched"
    /// Only of a dead letter that is put back: it is not one encoded reading.
    case line = "line.malformed"
    /// Only of a dead letter without bytes that is put back: the log no longer has its message.
    case logGone = "log.gone"
    /// Only of a dead letter without bytes that is put back: today's decoder finds fewer readings in its message.
    case readingMissing = "reading.missing"
  }

  package var rule: Rule
  /// For people; holds nothing of the payload.
  package var reason: String

  package init(_ rule: Rule, _ reason: String) {
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
