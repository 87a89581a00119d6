// The keywords that look at one kind of value.
extension SchemaCompiler {
  mutating func compileAssertions(
    _ keywords: [String: Place], _ vocabularies: SchemaVocabularies
  ) throws(SchemaError) {
    if vocabularies.contains(.validation) {
      if let place = keywords["type"] {
        parts.operations.append(SchemaOperation(code: .type, a: try types(place).rawValue))
      }
      if let place = keywords["enum"] {
        guard documents.value(place).kind == .array else {
          throw documents.error(.malformed, place, "enum must be an array")
        }
        addEnum(documents.elements(place), isConst: false)
      }
      if let place = keywords["const"] { addEnum([place], isConst: true) }
      try compileNumber(keywords)
    }
    try compileString(keywords, vocabularies)
  }

  private func types(_ place: Place) throws(SchemaError) -> SchemaTypes {
    let names = documents.value(place).kind == .array ? documents.elements(place) : [place]
    var types: SchemaTypes = []
    for name in names {
      guard let text = documents.string(name), let type = SchemaTypes(named: text) else {
        throw documents.error(
          .malformed, name, "type must be one of \(SchemaTypes.names.joined(separator: ", "))")
      }
      types.formUnion(type)
    }
    return types
  }

  private mutating func addEnum(_ values: [Place], isConst: Bool) {
    var strings: [(name: [UInt8], node: Int32, required: Int32)] = []
    var known: Set<String> = []
    let first = Int32(constantPlaces.count)
    for value in values {
      if let text = documents.string(value) {
        if known.insert(text).inserted { strings.append((Array(text.utf8), -1, -1)) }
      } else {
        constantPlaces.append(value)
        parts.constantList.append(SchemaConstant(hash: 0, index: 0))
      }
    }
    parts.operations.append(SchemaOperation(code: .enumeration, a: Int32(parts.enumRules.count)))
    parts.enumRules.append(
      EnumRules(
        strings: parts.names.add(strings), others: first..<Int32(constantPlaces.count), isConst: isConst))
  }

  private mutating func compileNumber(_ keywords: [String: Place]) throws(SchemaError) {
    var rules = NumberRules()
    rules.minimum = try number(keywords, "minimum")
    rules.maximum = try number(keywords, "maximum")
    rules.exclusiveMinimum = try number(keywords, "exclusiveMinimum")
    rules.exclusiveMaximum = try number(keywords, "exclusiveMaximum")
    rules.multipleOf = try number(keywords, "multipleOf")
    if rules.multipleOf >= 0, let place = keywords["multipleOf"] {
      let shape = parts.numbers[Int(rules.multipleOf)].shape
      guard !shape.isNegative, !shape.isZero else {
        throw documents.error(.malformed, place, "multipleOf must be greater than 0")
      }
      guard shape.isShort else {
        throw documents.error(
          .tooLarge, place, "multipleOf must have at most \(DecimalShape.shortDigits) digits")
      }
    }
    let all = [
      rules.minimum, rules.maximum, rules.exclusiveMinimum, rules.exclusiveMaximum, rules.multipleOf,
    ]
    guard all.contains(where: { $0 >= 0 }) else { return }
    parts.operations.append(SchemaOperation(code: .number, a: Int32(parts.numberRules.count)))
    parts.numberRules.append(rules)
  }

  private mutating func number(_ keywords: [String: Place], _ name: String) throws(SchemaError) -> Int32 {
    guard let place = keywords[name] else { return -1 }
    guard documents.value(place).kind == .number else {
      throw documents.error(.malformed, place, "\(name) must be a number")
    }
    let text = documents.raw(place)
    let shape = text.withUnsafeBytes { DecimalText($0).shape }
    let start = parts.numberTexts.count
    parts.numberTexts += text
    parts.numbers.append(SchemaNumber(shape: shape, text: start..<parts.numberTexts.count))
    return Int32(parts.numbers.count - 1)
  }

  private mutating func compileString(
    _ keywords: [String: Place], _ vocabularies: SchemaVocabularies
  ) throws(SchemaError) {
    var rules = StringRules()
    if vocabularies.contains(.validation) {
      rules.minLength = try count(keywords, "minLength") ?? -1
      rules.maxLength = try count(keywords, "maxLength") ?? -1
      if let place = keywords["pattern"] {
        rules.pattern = try pattern(Array(try string(place, "pattern").utf8), place)
      }
    }
    if let place = keywords["format"] {
      let name = try string(place, "format")
      if options.assertsFormat || vocabularies.contains(.formatAssertion) {
        rules.format = SchemaFormat(named: name)
      }
    }
    guard rules.minLength >= 0 || rules.maxLength >= 0 || rules.pattern >= 0 || rules.format != nil else {
      return
    }
    parts.operations.append(SchemaOperation(code: .string, a: Int32(parts.stringRules.count)))
    parts.stringRules.append(rules)
  }

  private mutating func pattern(_ text: [UInt8], _ place: Place) throws(SchemaError) -> Int32 {
    do throws(SchemaPattern.Malformed) {
      parts.patterns.append(try SchemaPattern(text))
    } catch {
      throw documents.error(
        .pattern, place, "the pattern is malformed: \(error.reason) (character \(error.position + 1))")
    }
    return Int32(parts.patterns.count - 1)
  }

  /// A whole number of at least 0; nil where the keyword is not there.
  private func count(_ keywords: [String: Place], _ name: String) throws(SchemaError) -> Int? {
    guard let place = keywords[name] else { return nil }
    let text = documents.raw(place)
    let shape = text.withUnsafeBytes { DecimalText($0).shape }
    guard documents.value(place).kind == .number, shape.isInteger, !shape.isNegative else {
      throw documents.error(.malformed, place, "\(name) must be a whole number of at least 0")
    }
    // No payload has as many of anything as would need more.
    guard shape.isShort, shape.digits + shape.exponent <= 18 else { return Int.max - 1 }
    return (0..<shape.exponent).reduce(Int(shape.mantissa)) { value, _ in value * 10 }
  }

  // MARK: Objects

  mutating func compileObject(
    _ keywords: [String: Place], _ vocabularies: SchemaVocabularies
  ) throws(SchemaError) {
    var rules = ObjectRules()
    var names: [(name: [UInt8], node: Int32, required: Int32)] = []
    var positions: [[UInt8]: Int] = [:]
    if vocabularies.contains(.applicator) {
      if let place = keywords["properties"] {
        for (name, schema) in try object(place, "properties") {
          positions[name] = names.count
          names.append((name, try node(schema), -1))
        }
      }
      if let place = keywords["patternProperties"] {
        let first = Int32(parts.patternRules.count)
        for (name, schema) in try object(place, "patternProperties") {
          let rule = PatternRule(pattern: try pattern(name, schema), node: try node(schema))
          parts.patternRules.append(rule)
        }
        rules.patterns = first..<Int32(parts.patternRules.count)
      }
      rules.additional = try optionalNode(keywords["additionalProperties"])
      rules.propertyNames = try optionalNode(keywords["propertyNames"])
    }
    var required: [Int] = []
    if vocabularies.contains(.validation) {
      rules.minProperties = try count(keywords, "minProperties") ?? -1
      rules.maxProperties = try count(keywords, "maxProperties") ?? -1
      if let place = keywords["required"] {
        for (number, name) in try strings(place, "required").enumerated() {
          let position = positions[name] ?? names.count
          if position == names.count { names.append((name, -1, -1)) }
          names[position].required = Int32(number)
          required.append(position)
        }
      }
      if let place = keywords["dependentRequired"] {
        for (name, demanded) in try object(place, "dependentRequired") {
          try demand(demanded, "dependentRequired", beside: name)
        }
      }
    }
    let firstEntry = parts.names.entries.count
    rules.names = parts.names.add(names)
    let first = Int32(parts.lists.count)
    parts.lists += required.map { Int32(firstEntry + $0) }
    rules.required = first..<Int32(parts.lists.count)
    guard rules.looksAtMembers || rules.minProperties >= 0 || rules.maxProperties >= 0 else { return }
    parts.operations.append(SchemaOperation(code: .object, a: Int32(parts.objectRules.count)))
    parts.objectRules.append(rules)
  }

  // MARK: Arrays

  mutating func compileArray(
    _ keywords: [String: Place], _ vocabularies: SchemaVocabularies
  ) throws(SchemaError) {
    var rules = ArrayRules()
    if vocabularies.contains(.applicator) {
      if let place = keywords["prefixItems"] { rules.prefix = try schemaList(place, "prefixItems") }
      rules.items = try optionalNode(keywords["items"])
      rules.contains = try optionalNode(keywords["contains"])
    }
    if vocabularies.contains(.validation) {
      rules.minContains = try count(keywords, "minContains") ?? 1
      rules.maxContains = try count(keywords, "maxContains") ?? Int.max
      rules.minItems = try count(keywords, "minItems") ?? -1
      rules.maxItems = try count(keywords, "maxItems") ?? -1
      if let place = keywords["uniqueItems"] {
        guard documents.value(place).kind == .boolean else {
          throw documents.error(.malformed, place, "uniqueItems must be true or false")
        }
        rules.isUnique = documents.raw(place).elementsEqual("true".utf8)
      }
    }
    guard
      !rules.prefix.isEmpty || rules.items >= 0 || rules.contains >= 0 || rules.minItems >= 0
        || rules.maxItems >= 0 || rules.isUnique
    else { return }
    parts.operations.append(SchemaOperation(code: .array, a: Int32(parts.arrayRules.count)))
    parts.arrayRules.append(rules)
  }
}
