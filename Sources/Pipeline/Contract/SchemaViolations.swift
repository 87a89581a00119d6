// Words for what does not fit.
extension SchemaRun {
  /// What was found, in words; what stopped the run, if anything, is first and alone.
  func violations() -> [Violation] {
    if let stopped {
      let reason =
        switch stopped {
        case .depth: "the schema is nested more than \(limits.depth) deep for this value"
        case .work: "checking the value takes more than \(limits.steps) steps"
        case .pattern: "searching for a pattern takes more steps than are allowed"
        }
      return [Violation(kind: .limit(stopped), instancePath: "", keywordLocation: "", reason: reason)]
    }
    return failures.map { failure in
      let location = program.parts.locations[Int(failure.node)]
      return Violation(
        kind: .keyword(failure.keyword), instancePath: path(to: failure.index),
        keywordLocation: failure.keyword == .never
          ? location : location + JSONPointer.step(failure.keyword.rawValue.utf8),
        reason: reason(failure))
    }
  }

  private func reason(_ failure: Failure) -> String {
    let detail = failure.detail
    func number() -> String {
      String(decoding: program.parts.numberTexts[program.numbers[detail].text], as: UTF8.self)
    }
    return switch failure.keyword {
    case .never: "nothing is allowed here"
    case .type: "it must be \(types(failure.node)), not \(place.values[failure.index].kind.phrase)"
    case .enumeration: "it is none of the values allowed"
    case .const: "it is not the one value allowed"
    case .minimum: "it is less than \(number())"
    case .maximum: "it is more than \(number())"
    case .exclusiveMinimum: "it is not more than \(number())"
    case .exclusiveMaximum: "it is not less than \(number())"
    case .multipleOf: "it is no multiple of \(number())"
    case .minLength: "it is shorter than \(detail) characters"
    case .maxLength: "it is longer than \(detail) characters"
    case .pattern: "it does not match the pattern"
    case .format: "it is not \(SchemaFormat(rawValue: UInt8(detail))?.name ?? "formatted as it must be")"
    case .required: "the member \"\(program.names.name(detail))\" is missing"
    case .minProperties: "it has fewer than \(detail) members"
    case .maxProperties: "it has more than \(detail) members"
    case .propertyNames: "a member's name is not allowed"
    case .dependentRequired:
      "beside the member \"\(String(decoding: program.parts.dependentNames[detail].name, as: UTF8.self))\" "
        + "another one is missing"
    case .contains: "none of its elements is as one must be"
    case .minContains: "fewer than \(detail) of its elements are as they must be"
    case .maxContains: "more than \(detail) of its elements are as that many may be"
    case .minItems: "it has fewer than \(detail) elements"
    case .maxItems: "it has more than \(detail) elements"
    case .uniqueItems: "two of its elements are the same"
    case .anyOf: "it fits none of the alternatives"
    case .oneOf: detail == 0 ? "it fits none of the alternatives" : "it fits more than one of the alternatives"
    case .not: "it fits what it must not fit"
    }
  }

  private func types(_ number: Int32) -> String {
    let node = program.nodes[Int(number)]
    let operations = program.operations[Int(node.firstOperation)..<Int(node.firstOperation + node.operationCount)]
    let types = operations.first { $0.code == .type }.map { SchemaTypes(rawValue: $0.a).names } ?? []
    return types.joined(separator: " or ")
  }

  /// The JSON Pointer to a value from the one that was validated.
  private func path(to target: Int) -> String {
    var path = ""
    var index = start
    while index < target {
      let isObject = place.values[index].kind == .object
      var child = index + 1
      var ordinal = 0
      while place.values[child].next <= target {
        ordinal += 1
        child = place.values[child].next
      }
      let member = place.values[child]
      if isObject {
        let name = place.raw(member.name)
        path += member.nameHasEscapes ? JSONPointer.step(JSONText.unescape(name)) : JSONPointer.step(name)
      } else {
        path += "/\(ordinal)"
      }
      if path.utf8.count > Violation.maximumPath {
        var length = Violation.maximumPath
        while length > 0, String(path.utf8.prefix(length)) == nil { length -= 1 }
        return (String(path.utf8.prefix(length)) ?? "") + "…"
      }
      index = child
    }
    return path
  }
}
