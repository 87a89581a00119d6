/// What a pipeline's payloads are, and how they are read.
package enum PayloadFormat: Sendable, Hashable {
  case json(CharacterSet)
  case cbor
  /// A pack of RFC 8428, in JSON or in CBOR, which its first byte tells.
  case senml
  case lineProtocol(LineProtocolTranscoder.Settings)
  case csv(CSVTranscoder.Settings)
  case scalar(ScalarTranscoder.Settings)
  case raw

  package enum Name: String, Sendable, Hashable, CaseIterable {
    case json
    case cbor
    case senml
    case lineProtocol = "line-protocol"
    case csv
    case scalar
    case raw
  }

  package var name: Name {
    switch self {
    case .json: .json
    case .cbor: .cbor
    case .senml: .senml
    case .lineProtocol: .lineProtocol
    case .csv: .csv
    case .scalar: .scalar
    case .raw: .raw
    }
  }

  /// What turns payloads into JSON; nil where they are JSON, in UTF-8 or not.
  func transcoder() -> (any Transcoder)? {
    switch self {
    case .json: nil
    case .cbor: CBORTranscoder()
    case .senml: SenMLTranscoder()
    case .lineProtocol(let settings): LineProtocolTranscoder(settings: settings)
    case .csv(let settings): CSVTranscoder(settings: settings)
    case .scalar(let settings): ScalarTranscoder(settings: settings)
    case .raw: RawTranscoder()
    }
  }

  /// Every setting under its name, for the version of a pipeline.
  var canonicalSettings: [(name: String, value: String)] {
    switch self {
    case .json(let characterSet): [("charset", characterSet.rawValue)]
    case .cbor, .senml, .raw: []
    case .lineProtocol(let settings):
      [("charset", settings.characterSet.rawValue), ("precision", settings.precision.rawValue)]
    case .csv(let settings):
      [
        ("charset", settings.characterSet.rawValue), ("delimiter", String(settings.delimiter)),
        ("decimal-comma", String(settings.decimalComma)),
        ("columns", settings.columns.map { String($0.count) } ?? "header"),
      ] + (settings.columns ?? []).map { ("column", $0) }
    case .scalar(let settings):
      [("charset", settings.characterSet.rawValue), ("decimal-comma", String(settings.decimalComma))]
    }
  }
}
