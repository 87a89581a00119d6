internal import Pipeline

extension ConfigurationValue {
  /// The word for a format, or a mapping of `format` and its options.
  func payloadFormat() -> PayloadFormat? {
    if case .scalar = node.content {
      switch choice(PayloadFormat.Name.self) {
      case nil: return nil
      case .json: return .json(.utf8)
      case .cbor: return .cbor
      case .senml: return .senml
      case .lineProtocol: return .lineProtocol(LineProtocolTranscoder.Settings())
      case .csv: return .csv(CSVTranscoder.Settings())
      case .scalar: return .scalar(ScalarTranscoder.Settings())
      case .raw: return .raw
      }
    }
    guard let section = section() else { return nil }
    defer { section.close() }
    guard let name = section.required("format")?.choice(PayloadFormat.Name.self) else { return nil }
    switch name {
    case .json:
      var characterSet = CharacterSet.utf8
      section.set(&characterSet, from: "charset") { $0.choice(CharacterSet.self) }
      return .json(characterSet)
    case .cbor: return .cbor
    case .senml: return .senml
    case .lineProtocol:
      var settings = LineProtocolTranscoder.Settings()
      section.set(&settings.precision, from: "precision") { $0.choice(LineProtocolTranscoder.Precision.self) }
      section.set(&settings.characterSet, from: "charset") { $0.choice(CharacterSet.self) }
      return .lineProtocol(settings)
    case .csv:
      var settings = CSVTranscoder.Settings()
      section.set(&settings.columns, from: "columns") { $0.columnNames() }
      section.set(&settings.delimiter, from: "delimiter") { $0.delimiter() }
      section.set(&settings.decimalComma, from: "decimal_comma") { $0.boolean() }
      section.set(&settings.characterSet, from: "charset") { $0.choice(CharacterSet.self) }
      return .csv(settings)
    case .scalar:
      var settings = ScalarTranscoder.Settings()
      section.set(&settings.decimalComma, from: "decimal_comma") { $0.boolean() }
      section.set(&settings.characterSet, from: "charset") { $0.choice(CharacterSet.self) }
      return .scalar(settings)
    case .raw: return .raw
    }
  }

  private enum Flag: String, CaseIterable {
    case yes = "true"
    case no = "false"
  }

  func boolean() -> Bool? { choice(Flag.self).map { $0 == .yes } }

  private func columnNames() -> [String]? {
    let names = items().compactMap { $0.text(expected: "a column's name") }
    for (index, name) in names.enumerated() {
      if name.isEmpty { error("a column's name is empty", hint: "every value needs a name in the reading") }
      if names[..<index].contains(name) {
        error("the column \(quoted(name)) is here twice", hint: "a reading can have a field once only")
      }
    }
    return names
  }

  func delimiter() -> UInt8? {
    let expected = #"one ASCII character, for example ";" or "\t""#
    guard let text = text(expected: expected) else { return nil }
    if let byte = text.utf8.first, text.utf8.count == 1, CSVTranscoder.Settings.isDelimiter(byte) { return byte }
    error("\(quoted(text)) cannot stand between values, expected \(expected)")
    return nil
  }
}
