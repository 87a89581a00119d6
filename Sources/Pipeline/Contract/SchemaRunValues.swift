// Single values: numbers, strings, constants.
extension SchemaRun {
  /// A number of the schema, ready to be compared with.
  @inline(__always)
  private func compare(_ value: DecimalText, _ limit: Int32) -> Int {
    let number = program.numbers[Int(limit)]
    if number.shape.isShort, value.shape.isShort {
      return value.compare(DecimalText(UnsafeRawBufferPointer(start: nil, count: 0), shape: number.shape))
    }
    return program.parts.numberTexts.withUnsafeBytes {
      value.compare(DecimalText(UnsafeRawBufferPointer(rebasing: $0[number.text]), shape: number.shape))
    }
  }

  mutating func numberFits(_ rules: Int32, _ node: Int32, _ index: Int) -> Bool {
    let rules = program.numberRules[Int(rules)]
    let text = place.raw(place.values[index].range)
    guard spend(text.count >> 6) else { return false }
    let value = DecimalText(text)
    var fits = true
    if rules.minimum >= 0, compare(value, rules.minimum) < 0 {
      fits = fail(.minimum, node, index, Int(rules.minimum))
    }
    if rules.maximum >= 0, compare(value, rules.maximum) > 0 {
      fits = fail(.maximum, node, index, Int(rules.maximum))
    }
    if rules.exclusiveMinimum >= 0, compare(value, rules.exclusiveMinimum) <= 0 {
      fits = fail(.exclusiveMinimum, node, index, Int(rules.exclusiveMinimum))
    }
    if rules.exclusiveMaximum >= 0, compare(value, rules.exclusiveMaximum) >= 0 {
      fits = fail(.exclusiveMaximum, node, index, Int(rules.exclusiveMaximum))
    }
    if rules.multipleOf >= 0 {
      let shape = program.numbers[Int(rules.multipleOf)].shape
      let divisor = DecimalText(UnsafeRawBufferPointer(start: nil, count: 0), shape: shape)
      if !value.isMultiple(of: divisor) { fits = fail(.multipleOf, node, index, Int(rules.multipleOf)) }
    }
    return fits
  }

  mutating func stringFits(_ rules: Int32, _ node: Int32, _ index: Int) -> Bool {
    let value = place.values[index]
    let raw = place.raw(value.content)
    guard spend(raw.count >> 6) else { return false }
    if value.hasEscapes {
      return JSONText.unescape(raw).withUnsafeBytes { stringFits($0, rules, node, index) }
    }
    return stringFits(raw, rules, node, index)
  }

  private mutating func stringFits(
    _ text: UnsafeRawBufferPointer, _ rules: Int32, _ node: Int32, _ index: Int
  ) -> Bool {
    let rules = program.stringRules[Int(rules)]
    var fits = true
    if rules.minLength >= 0 || rules.maxLength >= 0 {
      // Every byte of UTF-8 but those that go on with a code point.
      let length = text.reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) }
      if length < rules.minLength { fits = fail(.minLength, node, index, rules.minLength) }
      if rules.maxLength >= 0, length > rules.maxLength {
        fits = fail(.maxLength, node, index, rules.maxLength)
      }
    }
    if rules.pattern >= 0 {
      switch find(rules.pattern, text) {
      case .found: break
      case .missing: fits = fail(.pattern, node, index, Int(rules.pattern))
      case .exhausted: return stop(.pattern)
      }
    }
    if let format = rules.format, !format.matches(text) {
      fits = fail(.format, node, index, Int(format.rawValue))
    }
    return fits
  }

  /// What is found costs steps, so that many searches of long texts come to an end too.
  mutating func find(_ pattern: Int32, _ text: UnsafeRawBufferPointer) -> PatternOutcome {
    steps -= 1 + text.count >> 3
    if steps < 0 { return .exhausted }
    return program.patterns[Int(pattern)].find(in: text)
  }

  // MARK: Constants

  mutating func isMember(_ rules: Int32, _ node: Int32, _ index: Int) -> Bool {
    let rules = program.parts.enumRules[Int(rules)]
    let value = place.values[index]
    if value.kind == .string {
      let raw = place.raw(value.content)
      let found =
        value.hasEscapes
        ? JSONText.unescape(raw).withUnsafeBytes { program.names.find($0, in: rules.strings) }
        : program.names.find(raw, in: rules.strings)
      if found >= 0 { return true }
    } else if !rules.others.isEmpty {
      guard spend(1 + (value.range.count >> 4)) else { return false }
      let hash = JSONEquality.hash(index, place)
      for position in rules.others {
        let constant = program.parts.constantList[Int(position)]
        if constant.hash == hash, isEqual(constant, index) { return true }
      }
    }
    return fail(rules.isConst ? .const : .enumeration, node, index)
  }

  private func isEqual(_ constant: SchemaConstant, _ index: Int) -> Bool {
    program.parts.constantText.withUnsafeBytes { bytes in
      program.parts.constants.values.withUnsafeBufferPointer { values in
        JSONEquality.equal(constant.index, JSONPlace(values: values, bytes: bytes), index, place)
      }
    }
  }
}
