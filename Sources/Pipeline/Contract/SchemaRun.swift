/// One validation: a program, a payload, and what has been found so far.
///
/// Bounded in depth, work and memory: whatever the payload, the schema's author decides how far it goes and
/// ``SchemaLimits`` where it stops.
struct SchemaRun {
  /// A value that does not fit, as short as can be: its words are found when it is asked for.
  struct Failure {
    var keyword: SchemaKeyword
    var node: Int32
    var index: Int
    /// By keyword: a name's number, a limit, a count.
    var detail: Int
  }

  let program: SchemaProgram
  let limits: SchemaLimits
  var place: JSONPlace
  /// The value that is validated.
  let start: Int
  /// How many failures are wanted.
  let maximum: Int
  private(set) var failures: [Failure] = []
  private(set) var stopped: Violation.Limit?
  /// Steps left.
  var steps: Int
  private var depth = 0
  /// Above 0 within a schema that may fail without the value failing.
  var trials = 0
  /// The schema resources that led here, outermost first; each as often as it was entered.
  private var scope: [Int32] = []
  /// What ``SchemaOperation/Code/unevaluatedItems`` and its sister ask: a stretch for each value that somebody
  /// wants to know it of, with a flag for each member or element.
  var marks: [Bool] = []

  init(_ program: SchemaProgram, _ limits: SchemaLimits, _ place: JSONPlace, at start: Int, maximum: Int) {
    self.start = start
    self.program = program
    self.limits = limits
    self.place = place
    self.maximum = maximum
    steps = limits.steps
  }

  // MARK: Failing

  @inline(never)
  mutating func fail(_ keyword: SchemaKeyword, _ node: Int32, _ index: Int, _ detail: Int = 0) -> Bool {
    if trials == 0, failures.count < maximum {
      failures.append(Failure(keyword: keyword, node: node, index: index, detail: detail))
    }
    return false
  }

  @inline(never)
  mutating func stop(_ limit: Violation.Limit) -> Bool {
    if stopped == nil { stopped = limit }
    return false
  }

  /// Whether there is any use in looking further after something failed.
  var goesOn: Bool { trials == 0 && stopped == nil && failures.count < maximum }

  /// Takes work of some size from what is left.
  @inline(__always)
  mutating func spend(_ work: Int) -> Bool {
    steps -= work
    return steps >= 0 || stop(.work)
  }

  // MARK: A value against a schema

  /// Whether a value fits.
  /// - Parameter collector: where ``marks`` for this value begin; -1 where nobody wants them.
  mutating func evaluate(_ number: Int32, _ index: Int, _ collector: Int) -> Bool {
    let node = program.nodes[Int(number)]
    if node.operationCount == 0 { return true }
    guard spend(1) else { return false }
    guard depth < limits.depth else { return stop(.depth) }
    depth += 1
    let entersResource = program.usesDynamicScope && scope.last != node.resource
    if entersResource { scope.append(node.resource) }

    var own = collector
    if node.hasUnevaluated {
      own = marks.count
      let count = Int(place.values[index].count)
      guard spend(count) else { return false }
      marks.append(contentsOf: repeatElement(false, count: count))
    }
    let fits = run(node, number, index, own)
    if node.hasUnevaluated { close(own, into: fits ? collector : -1) }
    if entersResource { scope.removeLast() }
    depth -= 1
    return fits
  }

  /// Ends a stretch of marks, which is the last.
  mutating func close(_ own: Int, into collector: Int) {
    if collector >= 0 {
      for offset in 0..<marks.count - own where marks[own + offset] { marks[collector + offset] = true }
    }
    marks.removeLast(marks.count - own)
  }

  private mutating func run(_ node: SchemaNode, _ number: Int32, _ index: Int, _ own: Int) -> Bool {
    let kind = place.values[index].kind
    var fits = true
    let first = Int(node.firstOperation)
    for position in first..<first + Int(node.operationCount) {
      let operation = program.operations[position]
      let passes: Bool
      switch operation.code {
      case .never: passes = fail(.never, number, index)
      case .type: passes = hasType(SchemaTypes(rawValue: operation.a), kind, index) || fail(.type, number, index)
      case .enumeration: passes = isMember(operation.a, number, index)
      case .number: passes = kind != .number || numberFits(operation.a, number, index)
      case .string: passes = kind != .string || stringFits(operation.a, number, index)
      case .object: passes = kind != .object || objectFits(operation.a, number, index, own)
      case .array: passes = kind != .array || arrayFits(operation.a, number, index, own)
      case .reference: passes = evaluate(operation.a, index, own)
      default: passes = runRest(operation, kind, number, index, own)
      }
      if !passes {
        fits = false
        if !goesOn { break }
      }
    }
    return fits
  }

  private func hasType(_ types: SchemaTypes, _ kind: JSONKind, _ index: Int) -> Bool {
    switch kind {
    case .object: types.contains(.object)
    case .array: types.contains(.array)
    case .string: types.contains(.string)
    case .boolean: types.contains(.boolean)
    case .null: types.contains(.null)
    case .number: types.contains(.number) || (types.contains(.integer) && isInteger(index))
    }
  }

  private func isInteger(_ index: Int) -> Bool {
    let text = place.raw(place.values[index].range)
    if text.allSatisfy({ $0 &- 0x30 <= 9 || $0 == UInt8(ascii: "-") }) { return true }
    return DecimalText(text).shape.isInteger
  }

  // MARK: Schemas within schemas

  @inline(never)
  private mutating func runRest(
    _ operation: SchemaOperation, _ kind: JSONKind, _ number: Int32, _ index: Int, _ own: Int
  ) -> Bool {
    switch operation.code {
    case .allOf: return allOf(operation, index, own)
    case .anyOf: return anyOf(operation, index, own) || fail(.anyOf, number, index)
    case .oneOf: return oneOf(operation, number, index, own)
    case .not:
      trials += 1
      let fits = evaluate(operation.a, index, -1)
      trials -= 1
      return !fits || fail(.not, number, index)
    case .condition:
      let (then, otherwise) = (program.lists[Int(operation.b)], program.lists[Int(operation.b) + 1])
      let next = attempt(operation.a, index, own) ? then : otherwise
      return next < 0 || evaluate(next, index, own)
    case .dynamicReference:
      let reference = program.parts.dynamicReferences[Int(operation.a)]
      let target = scope.lazy.compactMap { reference.targets[$0] }.first
      return evaluate(target ?? reference.initial, index, own)
    case .dependentRequired: return kind != .object || dependentRequired(operation.a, number, index)
    case .dependentSchemas: return kind != .object || dependentSchemas(operation, index, own)
    case .unevaluatedItems: return kind != .array || unevaluated(operation.a, index, own)
    case .unevaluatedProperties: return kind != .object || unevaluated(operation.a, index, own)
    default: return true
    }
  }

  /// Whether a value fits a schema that it need not fit. What the schema looked at counts only if it does.
  private mutating func attempt(_ node: Int32, _ index: Int, _ collector: Int) -> Bool {
    trials += 1
    defer { trials -= 1 }
    if collector < 0 { return evaluate(node, index, -1) }
    let own = marks.count
    let count = Int(place.values[index].count)
    guard spend(count) else { return false }
    marks.append(contentsOf: repeatElement(false, count: count))
    let fits = evaluate(node, index, own)
    // What was stopped half-way may have left stretches behind.
    close(own, into: fits ? collector : -1)
    return fits
  }

  private mutating func allOf(_ operation: SchemaOperation, _ index: Int, _ own: Int) -> Bool {
    var fits = true
    for position in operation.a..<operation.b {
      if !evaluate(program.lists[Int(position)], index, own) {
        fits = false
        if !goesOn { return false }
      }
    }
    return fits
  }

  private mutating func anyOf(_ operation: SchemaOperation, _ index: Int, _ own: Int) -> Bool {
    var fits = false
    for position in operation.a..<operation.b {
      if attempt(program.lists[Int(position)], index, own) {
        fits = true
        // The others matter only for what they look at.
        if own < 0 { return true }
      }
      if stopped != nil { return false }
    }
    return fits
  }

  private mutating func oneOf(
    _ operation: SchemaOperation, _ number: Int32, _ index: Int, _ own: Int
  ) -> Bool {
    var count = 0
    for position in operation.a..<operation.b {
      if attempt(program.lists[Int(position)], index, own) { count += 1 }
      if stopped != nil { return false }
      if count > 1 { break }
    }
    return count == 1 || fail(.oneOf, number, index, count)
  }

  /// The members or elements that nobody has looked at.
  private mutating func unevaluated(_ node: Int32, _ index: Int, _ own: Int) -> Bool {
    var fits = true
    var child = index + 1
    var offset = own
    while child < place.values[index].next {
      if !marks[offset] {
        if evaluate(node, child, -1) {
          marks[offset] = true
        } else {
          fits = false
          if !goesOn { return false }
        }
      }
      offset += 1
      child = place.values[child].next
    }
    return fits
  }
}
