// Objects and arrays.
extension SchemaRun {
  // MARK: Objects

  /// A name that stands in an object several times is looked at each time: what is passed on is valid
  /// whichever of them a reader takes.
  mutating func objectFits(_ number: Int32, _ node: Int32, _ index: Int, _ collector: Int) -> Bool {
    let rules = program.objectRules[Int(number)]
    var fits = true
    if rules.minProperties >= 0 || rules.maxProperties >= 0 {
      fits = countMembers(rules, node, index)
      if !fits, !goesOn { return false }
    }
    guard rules.looksAtMembers else { return fits }
    if rules.required.count > UInt64.bitWidth {
      guard requiresMany(rules, node, index) || goesOn else { return false }
    }

    /// The names that were found of those that must be there.
    var seen: UInt64 = 0
    var child = index + 1
    var ordinal = 0
    let end = place.values[index].next
    guard spend(Int(place.values[index].count)) else { return false }
    while child < end {
      let member = place.values[child]
      var passes = true
      var isKnown = false
      let raw = place.raw(member.name)
      let found =
        member.nameHasEscapes
        ? JSONText.unescape(raw).withUnsafeBytes { program.names.find($0, in: rules.names) }
        : program.names.find(raw, in: rules.names)
      if found >= 0 {
        let entry = program.names.entries[found]
        if entry.required >= 0 { seen |= 1 << UInt64(entry.required & 63) }
        if entry.node >= 0 {
          isKnown = true
          passes = evaluate(entry.node, child, -1)
        }
      }
      if !rules.patterns.isEmpty || rules.propertyNames >= 0 {
        passes = unusualMember(rules, node, index, child, &isKnown) && passes
      }
      if !isKnown, rules.additional >= 0 {
        isKnown = true
        passes = evaluate(rules.additional, child, -1) && passes
      }
      if isKnown, collector >= 0 { marks[collector + ordinal] = true }
      if !passes {
        fits = false
        if !goesOn { return false }
      }
      ordinal += 1
      child = member.next
    }

    if !rules.required.isEmpty, rules.required.count <= UInt64.bitWidth,
      seen != UInt64.max >> UInt64(UInt64.bitWidth - rules.required.count)
    {
      for (bit, position) in rules.required.enumerated() where seen & 1 << UInt64(bit) == 0 {
        fits = fail(.required, node, index, Int(program.lists[Int(position)]))
        if !goesOn { return false }
      }
    }
    return fits
  }

  /// The same as the end of ``objectFits(_:_:_:_:)`` for more names than fit its bits.
  @inline(never)
  private mutating func requiresMany(_ rules: ObjectRules, _ node: Int32, _ index: Int) -> Bool {
    var seen = [Bool](repeating: false, count: rules.required.count)
    var child = index + 1
    while child < place.values[index].next {
      let found = find(child, rules)
      if found >= 0, program.names.entries[found].required >= 0 {
        seen[Int(program.names.entries[found].required)] = true
      }
      child = place.values[child].next
    }
    var fits = true
    for (number, position) in rules.required.enumerated() where !seen[number] {
      fits = fail(.required, node, index, Int(program.lists[Int(position)]))
      if !goesOn { return false }
    }
    return fits
  }

  private func find(_ child: Int, _ rules: ObjectRules) -> Int {
    withName(child) { program.names.find($0, in: rules.names) }
  }

  private func withName<Outcome>(_ child: Int, _ body: (UnsafeRawBufferPointer) -> Outcome) -> Outcome {
    let member = place.values[child]
    let raw = place.raw(member.name)
    return member.nameHasEscapes ? JSONText.unescape(raw).withUnsafeBytes(body) : body(raw)
  }

  @inline(never)
  private mutating func unusualMember(
    _ rules: ObjectRules, _ node: Int32, _ index: Int, _ child: Int, _ isKnown: inout Bool
  ) -> Bool {
    var fits = true
    for position in rules.patterns {
      let rule = program.parts.patternRules[Int(position)]
      let name = place.values[child].name
      let escaped = place.values[child].nameHasEscapes ? JSONText.unescape(place.raw(name)) : nil
      let outcome = escaped?.withUnsafeBytes { find(rule.pattern, $0) } ?? find(rule.pattern, place.raw(name))
      switch outcome {
      case .found:
        isKnown = true
        if !evaluate(rule.node, child, -1) {
          fits = false
          if !goesOn { return false }
        }
      case .missing: break
      case .exhausted: return stop(.pattern)
      }
    }
    if rules.propertyNames >= 0, !nameFits(rules.propertyNames, child) {
      fits = fail(.propertyNames, node, index)
    }
    return fits
  }

  /// A name with its quotes is a JSON text of its own.
  private mutating func nameFits(_ node: Int32, _ child: Int) -> Bool {
    let name = place.values[child].name
    let text = place.raw(name.lowerBound - 1..<name.upperBound + 1)
    var tape = JSONTape()
    guard (try? tape.read(text)) != nil else { return false }
    let outer = place
    trials += 1
    defer {
      trials -= 1
      place = outer
    }
    return tape.values.withUnsafeBufferPointer {
      place = JSONPlace(values: $0, bytes: text)
      return evaluate(node, 0, -1)
    }
  }

  @inline(never)
  private mutating func countMembers(_ rules: ObjectRules, _ node: Int32, _ index: Int) -> Bool {
    var count = Int(place.values[index].count)
    guard spend(count * 8) else { return false }
    if count > 1 { count = JSONEquality.distinctNames(index, place) }
    if count < rules.minProperties { return fail(.minProperties, node, index, rules.minProperties) }
    if rules.maxProperties >= 0, count > rules.maxProperties {
      return fail(.maxProperties, node, index, rules.maxProperties)
    }
    return true
  }

  private mutating func member(_ name: [UInt8], of index: Int) -> Bool {
    var child = index + 1
    while child < place.values[index].next {
      guard spend(1) else { return false }
      if withName(child, { $0.count == name.count && name.elementsEqual($0) }) { return true }
      child = place.values[child].next
    }
    return false
  }

  @inline(never)
  mutating func dependentRequired(_ number: Int32, _ node: Int32, _ index: Int) -> Bool {
    let (name, demanded) = program.parts.dependentNames[Int(number)]
    guard member(name, of: index) else { return stopped == nil }
    for other in demanded where !member(other, of: index) {
      return fail(.dependentRequired, node, index, Int(number))
    }
    return true
  }

  @inline(never)
  mutating func dependentSchemas(_ operation: SchemaOperation, _ index: Int, _ own: Int) -> Bool {
    let (name, node) = program.parts.dependentNodes[Int(operation.a)]
    guard member(name, of: index) else { return stopped == nil }
    return evaluate(node, index, own)
  }

  // MARK: Arrays

  mutating func arrayFits(_ number: Int32, _ node: Int32, _ index: Int, _ collector: Int) -> Bool {
    let rules = program.arrayRules[Int(number)]
    let count = Int(place.values[index].count)
    var fits = true
    if count < rules.minItems {
      fits = fail(.minItems, node, index, rules.minItems)
      if !goesOn { return false }
    }
    if rules.maxItems >= 0, count > rules.maxItems {
      fits = fail(.maxItems, node, index, rules.maxItems)
      if !goesOn { return false }
    }
    if rules.isUnique, !isUnique(index) {
      fits = fail(.uniqueItems, node, index)
      if !goesOn { return false }
    }
    if rules.contains >= 0, !contains(rules, node, index, collector) {
      fits = false
      if !goesOn { return false }
    }
    guard !rules.prefix.isEmpty || rules.items >= 0 else { return fits }
    guard spend(count) else { return false }
    var child = index + 1
    var ordinal = 0
    let end = place.values[index].next
    while child < end {
      let schema =
        ordinal < rules.prefix.count ? program.lists[Int(rules.prefix.lowerBound) + ordinal] : rules.items
      if schema < 0 { break }
      if collector >= 0 { marks[collector + ordinal] = true }
      if !evaluate(schema, child, -1) {
        fits = false
        if !goesOn { return false }
      }
      ordinal += 1
      child = place.values[child].next
    }
    return fits
  }

  @inline(never)
  private mutating func contains(
    _ rules: ArrayRules, _ node: Int32, _ index: Int, _ collector: Int
  ) -> Bool {
    var found = 0
    var child = index + 1
    var ordinal = 0
    trials += 1
    while child < place.values[index].next {
      if evaluate(rules.contains, child, -1) {
        found += 1
        if collector >= 0 { marks[collector + ordinal] = true }
        // More change nothing, unless somebody wants to know which they are.
        if collector < 0, found >= rules.minContains, rules.maxContains == Int.max { break }
      }
      if stopped != nil { break }
      ordinal += 1
      child = place.values[child].next
    }
    trials -= 1
    if stopped != nil { return false }
    if found < rules.minContains {
      return fail(rules.minContains == 1 ? .contains : .minContains, node, index, rules.minContains)
    }
    return found <= rules.maxContains || fail(.maxContains, node, index, rules.maxContains)
  }

  /// By hash, so that only elements whose hashes are the same are compared; each comparison costs steps, so
  /// that hashes made to collide come to an end.
  @inline(never)
  private mutating func isUnique(_ index: Int) -> Bool {
    let array = place.values[index]
    guard array.count > 1 else { return true }
    guard spend(array.next - index + (array.range.count >> 4)) else { return false }
    var elements: [(hash: UInt64, index: Int)] = []
    elements.reserveCapacity(Int(array.count))
    var child = index + 1
    while child < array.next {
      elements.append((JSONEquality.hash(child, place), child))
      child = place.values[child].next
    }
    elements.sort { $0.hash == $1.hash ? $0.index < $1.index : $0.hash < $1.hash }
    for (position, element) in elements.enumerated() {
      var other = position + 1
      while other < elements.count, elements[other].hash == element.hash {
        guard spend(1 + place.values[element.index].range.count >> 4) else { return false }
        if JSONEquality.equal(element.index, place, elements[other].index, place) { return false }
        other += 1
      }
    }
    return true
  }
}
