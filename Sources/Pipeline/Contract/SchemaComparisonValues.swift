// What the keywords say about values of each type.
extension SchemaComparison {
  mutating func compareValues(_ left: Schema, _ right: Schema, at location: String) {
    // Few values are looked at one by one, and nothing else matters.
    if let values = constants(left) {
      compareConstants(values, right, at: location)
      return
    }
    let types = self.types(left, one)
    let allowed = self.types(right, other)
    let missing = SchemaTypes(rawValue: types.rawValue & ~allowed.rawValue)
    let refused = missing.names.filter { $0 != "integer" || !allowed.contains(.number) }
    if !refused.isEmpty {
      report(
        .narrowed, location + "/type",
        "the \(oneName) schema allows \(refused.joined(separator: ", ")), the \(otherName) one does not")
    }
    for keyword in ["enum", "const"] where right.keywords[keyword] != nil {
      report(
        .narrowed, "\(location)/\(keyword)",
        "the \(otherName) schema allows only certain values, the \(oneName) one does not list its own")
    }
    let common = types.intersection(allowed.contains(.number) ? allowed.union(.integer) : allowed)
    if !common.isDisjoint(with: [.number, .integer]) { compareNumbers(left, right, common, at: location) }
    if common.contains(.string) {
      compareCounts(left, right, "minLength", "maxLength", "characters", at: location)
      comparePattern(left, right, at: location)
    }
    if common.contains(.object) { compareObjects(left, right, at: location) }
    if common.contains(.array) { compareArrays(left, right, at: location) }
  }

  // MARK: Types and constants

  private func types(_ schema: Schema, _ documents: SchemaDocuments) -> SchemaTypes {
    let all = SchemaTypes(rawValue: 127)
    guard let place = schema.keywords["type"] else { return all }
    let names = documents.value(place).kind == .array ? documents.elements(place) : [place]
    let types = names.reduce(into: SchemaTypes()) { types, name in
      types.formUnion(documents.string(name).flatMap { SchemaTypes(named: $0) } ?? [])
    }
    return types.contains(.number) ? types.union(.integer) : types
  }

  private func constants(_ schema: Schema) -> [Place]? {
    if let place = schema.keywords["const"] { return [place] }
    return schema.keywords["enum"].map { one.elements($0) }
  }

  private mutating func compareConstants(_ values: [Place], _ right: Schema, at location: String) {
    guard let place = right.place else { return }
    let document = other.documents[place.document]
    // The part of the schema that matters, by a reference into its document.
    let reference = SchemaComparison.percentEncoded(other.pointer(place))
    let text = #"{"$ref":"forebay:schema#\#(reference)"}"#
    let name = otherName
    let schema: JSONSchema
    do throws(SchemaError) {
      let documents = other
      schema = try JSONSchema(compiling: Array(text.utf8), baseURI: "forebay:comparison") { uri in
        uri == "forebay:schema" ? document.text : documents.documents.first { $0.uri == uri }?.text
      }
    } catch {
      report(.undecided, location, "the values that the \(oneName) schema lists cannot be tried")
      return
    }
    let refused = values.count { value in
      let text = Array(one.raw(value))
      var tape = JSONTape()
      return text.withUnsafeBytes { (try? tape.read($0)) == nil || schema.validate(tape, in: $0) != nil }
    }
    if refused > 0 {
      report(
        .narrowed, location,
        "of the \(values.count) values that the \(oneName) schema lists the \(name) one refuses \(refused)")
    }
  }

  /// A JSON Pointer as a fragment: what RFC 3986 does not have in one, by its bytes.
  private static func percentEncoded(_ pointer: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var output: [UInt8] = []
    for byte in pointer.utf8 {
      let isPlain =
        byte &- 0x30 <= 9 || (byte | 0x20) &- 0x61 <= 25 || "/-._~!$&'()*+,;=:@".utf8.contains(byte)
      output += isPlain ? [byte] : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }
    return String(decoding: output, as: UTF8.self)
  }

  // MARK: Numbers

  private func number(_ keyword: String, _ schema: Schema, _ documents: SchemaDocuments) -> ExactNumber? {
    schema.keywords[keyword].flatMap { ExactNumber(String(decoding: documents.raw($0), as: UTF8.self)) }
  }

  /// Below 0 where `left` is the smaller one.
  private static func order(_ left: ExactNumber, _ right: ExactNumber) -> Int {
    left.text.withUnsafeBytes { right.compared(to: DecimalText($0, shape: left.shape)) }
  }

  private mutating func compareNumbers(
    _ left: Schema, _ right: Schema, _ types: SchemaTypes, at location: String
  ) {
    // Each bound, the sign that makes it a lower one, and whether it is allowed itself.
    let bounds: [(name: String, twin: String, sign: Int, isOpen: Bool)] = [
      ("minimum", "exclusiveMinimum", 1, false), ("exclusiveMinimum", "minimum", 1, true),
      ("maximum", "exclusiveMaximum", -1, false), ("exclusiveMaximum", "maximum", -1, true),
    ]
    for bound in bounds {
      guard let limit = number(bound.name, right, other) else { continue }
      let same = number(bound.name, left, one).map { SchemaComparison.order($0, limit) * bound.sign >= 0 } ?? false
      let twin =
        number(bound.twin, left, one).map {
          SchemaComparison.order($0, limit) * bound.sign >= (bound.isOpen ? 1 : 0)
        } ?? false
      if !same, !twin {
        report(
          .narrowed, "\(location)/\(bound.name)",
          "the \(otherName) schema has the \(bound.name) \(limit), which the \(oneName) one does not keep")
      }
    }
    guard let divisor = number("multipleOf", right, other) else { return }
    let isWhole = divisor.shape.mantissa == 1 && divisor.shape.exponent == 0
    if isWhole, !types.contains(.number) { return }
    let own = number("multipleOf", left, one)
    let isMultiple =
      own?.text.withUnsafeBytes { text in
        divisor.text.withUnsafeBytes {
          DecimalText(text).isMultiple(of: DecimalText($0, shape: divisor.shape))
        }
      } ?? false
    if !isMultiple {
      report(
        .narrowed, location + "/multipleOf",
        "the \(otherName) schema allows only multiples of \(divisor), the \(oneName) one others too")
    }
  }

  private mutating func compareCounts(
    _ left: Schema, _ right: Schema, _ minimum: String, _ maximum: String, _ unit: String, at location: String
  ) {
    if let limit = number(minimum, right, other), !limit.shape.isZero {
      let own = number(minimum, left, one)
      if own.map({ SchemaComparison.order($0, limit) < 0 }) ?? true {
        report(
          .narrowed, "\(location)/\(minimum)",
          "the \(otherName) schema demands at least \(limit) \(unit), the \(oneName) one allows fewer")
      }
    }
    if let limit = number(maximum, right, other) {
      let own = number(maximum, left, one)
      if own.map({ SchemaComparison.order($0, limit) > 0 }) ?? true {
        report(
          .narrowed, "\(location)/\(maximum)",
          "the \(otherName) schema allows at most \(limit) \(unit), the \(oneName) one more")
      }
    }
  }

  private mutating func comparePattern(_ left: Schema, _ right: Schema, at location: String) {
    guard right.keywords["pattern"] != nil, !isSame("pattern", left, right) else { return }
    if left.keywords["pattern"] == nil {
      report(
        .narrowed, location + "/pattern", "the \(otherName) schema demands a pattern, the \(oneName) one none")
    } else {
      report(
        .undecided, location + "/pattern",
        "the pattern differs, and it cannot be told whether it matches the same texts")
    }
  }

  // MARK: Objects and arrays

  private func properties(_ schema: Schema, _ documents: SchemaDocuments) -> [(name: [UInt8], schema: Schema)] {
    guard let place = schema.keywords["properties"] else { return [] }
    return documents.members(place).map { ($0.name, self.schema($0.place, documents)) }
  }

  private func additional(_ keyword: String, _ schema: Schema, _ documents: SchemaDocuments) -> Schema {
    schema.keywords[keyword].map { self.schema($0, documents) } ?? .anything
  }

  private mutating func compareObjects(_ left: Schema, _ right: Schema, at location: String) {
    compareCounts(left, right, "minProperties", "maxProperties", "members", at: location)
    let required = left.keywords["required"].map { one.elements($0).compactMap { one.string($0) } } ?? []
    if let place = right.keywords["required"] {
      for name in other.elements(place).compactMap({ other.string($0) }) where !required.contains(name) {
        report(
          .narrowed, location + "/required",
          "the member \"\(name)\" is required by the \(otherName) schema, but not by the \(oneName) one")
      }
    }
    let own = properties(left, one)
    let theirs = properties(right, other)
    let ownAdditional = additional("additionalProperties", left, one)
    let theirAdditional = additional("additionalProperties", right, other)
    let ownByName = Dictionary(own.map { ($0.name, $0.schema) }, uniquingKeysWith: { _, last in last })
    let theirNames = Set(theirs.map(\.name))
    for (name, schema) in theirs {
      let place = location + "/properties" + JSONPointer.step(name)
      if let known = ownByName[name] {
        compare(known, schema, at: place)
      } else if ownAdditional.isNever, left.keywords["patternProperties"] == nil {
        continue
      } else if ownAdditional.place == nil || ownAdditional.keywords.isEmpty {
        if !trial({ $0.compare(Schema.anything, schema, at: place) }) {
          report(
            .undescribed, place,
            "the \(oneName) schema does not describe this member, so that it may be anything; "
              + "the \(otherName) one does")
        }
      } else {
        compare(ownAdditional, schema, at: place)
      }
    }
    // Members that fall under the other's patterns are reported with the patterns.
    let hasPatterns = right.keywords["patternProperties"] != nil
    for (name, schema) in own where !theirNames.contains(name) && !hasPatterns {
      if theirAdditional.isNever, !schema.isNever {
        report(
          .narrowed, location + "/additionalProperties",
          "the member \"\(String(decoding: name, as: UTF8.self))\" of the \(oneName) schema is not allowed by "
            + "the \(otherName) one")
      } else {
        compare(schema, theirAdditional, at: location + "/additionalProperties")
      }
    }
    if ownAdditional.isNever { return }
    if theirAdditional.isNever {
      report(
        .narrowed, location + "/additionalProperties",
        "the \(otherName) schema allows no members beside those that it describes, the \(oneName) one does")
    } else {
      compare(ownAdditional, theirAdditional, at: location + "/additionalProperties")
    }
  }

  private mutating func compareArrays(_ left: Schema, _ right: Schema, at location: String) {
    compareCounts(left, right, "minItems", "maxItems", "elements", at: location)
    if let place = right.keywords["uniqueItems"], other.raw(place).elementsEqual("true".utf8),
      !isSame("uniqueItems", left, right)
    {
      report(
        .narrowed, location + "/uniqueItems",
        "the \(otherName) schema demands that elements differ, the \(oneName) one does not")
    }
    let own = left.keywords["prefixItems"].map { one.elements($0) } ?? []
    let theirs = right.keywords["prefixItems"].map { other.elements($0) } ?? []
    let ownItems = additional("items", left, one)
    let theirItems = additional("items", right, other)
    for number in 0..<max(own.count, theirs.count) {
      let first = number < own.count ? schema(own[number], one) : ownItems
      let second = number < theirs.count ? schema(theirs[number], other) : theirItems
      let place = number < theirs.count ? "\(location)/prefixItems/\(number)" : location + "/items"
      compare(first, second, at: place)
    }
    compare(ownItems, theirItems, at: location + "/items")
  }
}
