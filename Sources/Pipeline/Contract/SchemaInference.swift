/// Learns a schema from readings: what types fields have, which are always there, and which have few values.
///
/// A schema is handed on and kept for years, so nothing of the values of hidden fields gets into it: an `enum` and a
/// range quote what was seen, and the members of an object may be named after people.
///
/// Bounded in fields, nesting and values that are remembered; past a bound the schema says less, never something
/// wrong. The same readings in the same order give the same text.
package struct SchemaInference: Sendable {
  /// Fields and elements together, that are told apart.
  static let maximumNodes = 10_000
  /// Levels that are looked into; deeper values have only a type.
  static let maximumDepth = 32
  /// Different strings of an `enum`, the bytes of each, and how often each must have been seen on average.
  static let maximumChoices = 10
  static let longestChoice = 32
  static let sightingsPerChoice = 10
  /// Longer numbers are left out of what is said about the least and the greatest.
  static let longestNumber = 64

  private struct Node: Sendable {
    var counts = [Int](repeating: 0, count: SchemaTypes.names.count)
    /// Fields in the order in which they were first seen.
    var fields: [[UInt8]: Int] = [:]
    /// The node of all elements; -1 where there were none.
    var element = -1
    /// Nil once there were too many or too long ones.
    var choices: [[UInt8]: Int]? = [:]
    var least: ExactNumber?
    var greatest: ExactNumber?
    /// Whether fields were seen that found no room.
    var isCut = false

    var total: Int { counts.reduce(0, +) }
  }

  private var nodes: [Node] = [Node()]
  /// Readings that were looked at.
  package private(set) var readings = 0

  private let hidden: [FieldPattern]
  private let quotesValues: Bool

  /// - Parameters:
  ///   - hidden: fields of which only the type is told.
  ///   - quotesValues: whether values of the others may be told, as an `enum` or a range.
  package init(hiding hidden: [FieldPattern] = [], quotesValues: Bool = true) {
    self.hidden = hidden
    self.quotesValues = quotesValues
  }

  // MARK: Looking

  /// Looks at a reading.
  package mutating func add(
    _ tape: JSONTape, at index: Int = 0, in bytes: UnsafeRawBufferPointer
  ) {
    readings += 1
    tape.values.withUnsafeBufferPointer {
      add(index, JSONPlace(values: $0, bytes: bytes), to: 0, depth: 0)
    }
  }

  private mutating func add(_ index: Int, _ place: JSONPlace, to node: Int, depth: Int) {
    let value = place.values[index]
    switch value.kind {
    case .null: nodes[node].counts[0] += 1
    case .boolean: nodes[node].counts[1] += 1
    case .number: addNumber(place.raw(value.range), to: node)
    case .string:
      nodes[node].counts[4] += 1
      let raw = place.raw(value.content)
      guard nodes[node].choices != nil else { return }
      guard raw.count <= SchemaInference.longestChoice * 6 else {
        nodes[node].choices = nil
        return
      }
      let text = value.hasEscapes ? JSONText.unescape(raw) : Array(raw)
      nodes[node].choices?[text, default: 0] += 1
      if text.count > SchemaInference.longestChoice
        || (nodes[node].choices?.count ?? 0) > SchemaInference.maximumChoices
      {
        nodes[node].choices = nil
      }
    case .array:
      nodes[node].counts[5] += 1
      guard depth < SchemaInference.maximumDepth, value.count > 0 else { return }
      if nodes[node].element < 0 {
        guard let element = makeNode() else { return }
        nodes[node].element = element
      }
      var child = index + 1
      while child < value.next {
        add(child, place, to: nodes[node].element, depth: depth + 1)
        child = place.values[child].next
      }
    case .object:
      nodes[node].counts[6] += 1
      guard depth < SchemaInference.maximumDepth else {
        nodes[node].isCut = true
        return
      }
      addMembers(index, place, to: node, depth: depth)
    }
  }

  private mutating func addMembers(_ index: Int, _ place: JSONPlace, to node: Int, depth: Int) {
    // Of a name that stands there several times, the last counts, so that no field is seen more often than its
    // object.
    var members: [[UInt8]: Int] = [:]
    var order: [[UInt8]] = []
    var child = index + 1
    while child < place.values[index].next {
      let member = place.values[child]
      let raw = place.raw(member.name)
      let name = member.nameHasEscapes ? JSONText.unescape(raw) : Array(raw)
      if members.updateValue(child, forKey: name) == nil { order.append(name) }
      child = member.next
    }
    for name in order {
      guard let child = members[name] else { continue }
      if let field = nodes[node].fields[name] {
        add(child, place, to: field, depth: depth + 1)
      } else if let field = makeNode() {
        nodes[node].fields[name] = field
        add(child, place, to: field, depth: depth + 1)
      } else {
        nodes[node].isCut = true
      }
    }
  }

  private mutating func addNumber(_ text: UnsafeRawBufferPointer, to node: Int) {
    let number = DecimalText(text)
    nodes[node].counts[number.shape.isInteger ? 3 : 2] += 1
    guard text.count <= SchemaInference.longestNumber else { return }
    if nodes[node].least.map({ $0.compared(to: number) < 0 }) ?? true {
      nodes[node].least = ExactNumber(String(decoding: text, as: UTF8.self))
    }
    if nodes[node].greatest.map({ $0.compared(to: number) > 0 }) ?? true {
      nodes[node].greatest = ExactNumber(String(decoding: text, as: UTF8.self))
    }
  }

  private mutating func makeNode() -> Int? {
    guard nodes.count < SchemaInference.maximumNodes else { return nil }
    nodes.append(Node())
    return nodes.count - 1
  }

  // MARK: The schema

  /// The schema as JSON text, two spaces for each level, fields in the order of their names' bytes.
  package func schema() -> [UInt8] {
    var output = "{\n  \"$schema\": \"\(MetaSchemas.dialect)\""
    if readings > 0 {
      output += ",\n  \"description\": \"learned from \(readings) reading\(readings == 1 ? "" : "s")\""
      write(keywords(0, level: 1, hidden: hidden.map { $0.steps[...] }), level: 1, to: &output, isFirst: false)
    }
    output += "\n}\n"
    return Array(output.utf8)
  }

  private func write(
    _ keywords: [(name: String, value: String)], level: Int, to output: inout String, isFirst: Bool
  ) {
    let indent = String(repeating: "  ", count: level)
    for (number, keyword) in keywords.enumerated() {
      output += number == 0 && isFirst ? "\n" : ",\n"
      output += "\(indent)\"\(keyword.name)\": \(keyword.value)"
    }
  }

  private func object(_ members: [(name: String, value: String)], level: Int) -> String {
    if members.isEmpty { return "{}" }
    var output = "{"
    write(members, level: level + 1, to: &output, isFirst: true)
    return output + "\n" + String(repeating: "  ", count: level) + "}"
  }

  private func quoted(_ text: [UInt8]) -> String {
    let inside = JSONText.escape(String(decoding: text, as: UTF8.self))
    return "\"\(String(decoding: inside, as: UTF8.self))\""
  }

  /// - Parameter hidden: what is left of the hidden fields' paths from this node on; an empty one ends here.
  private func keywords(
    _ number: Int, level: Int, hidden: [ArraySlice<FieldPattern.Step>]
  ) -> [(name: String, value: String)] {
    let node = nodes[number]
    var keywords: [(name: String, value: String)] = []
    // A number that was whole only some of the time is no integer.
    let types = SchemaTypes.names.indices.filter { node.counts[$0] > 0 && !($0 == 3 && node.counts[2] > 0) }
      .map { "\"\(SchemaTypes.names[$0])\"" }
    if types.count == 1 { keywords.append(("type", types[0])) }
    if types.count > 1 { keywords.append(("type", "[\(types.joined(separator: ", "))]")) }
    if hidden.contains(where: \.isEmpty) { return keywords }
    if quotesValues, let least = node.least, let greatest = node.greatest, number > 0 {
      keywords.append(("description", "\"from \(least) to \(greatest)\""))
    }
    if quotesValues, let choices = choices(node) {
      keywords.append(("enum", "[\(choices.map(quoted).joined(separator: ", "))]"))
    }
    let fields = node.fields.sorted { $0.key.lexicographicallyPrecedes($1.key) }
    if !fields.isEmpty {
      let members = fields.map { name, field in
        (
          name: String(quoted(name).dropFirst().dropLast()),
          value: object(
            self.keywords(field, level: level + 2, hidden: behind(hidden) { $0 == .member(name) }), level: level + 1)
        )
      }
      keywords.append(("properties", object(members, level: level)))
      let required = fields.filter { nodes[$0.value].total == node.counts[6] }.map { quoted($0.key) }
      if !required.isEmpty { keywords.append(("required", "[\(required.joined(separator: ", "))]")) }
    }
    if node.element >= 0 {
      // One element's path hides all of them: they are told as one.
      let rest = behind(hidden) { step in
        if case .member = step { false } else { true }
      }
      keywords.append(
        ("items", object(self.keywords(node.element, level: level + 1, hidden: rest), level: level)))
    }
    return keywords
  }

  private func behind(
    _ paths: [ArraySlice<FieldPattern.Step>], _ leads: (FieldPattern.Step) -> Bool
  ) -> [ArraySlice<FieldPattern.Step>] {
    paths.filter { $0.first.map(leads) ?? false }.map { $0.dropFirst() }
  }

  /// The strings of an `enum`: only where there was nothing but strings, each seen more than once.
  private func choices(_ node: Node) -> [[UInt8]]? {
    guard let choices = node.choices, !choices.isEmpty, node.counts[4] == node.total,
      node.total >= choices.count * SchemaInference.sightingsPerChoice,
      choices.values.allSatisfy({ $0 > 1 })
    else { return nil }
    return choices.keys.sorted { $0.lexicographicallyPrecedes($1) }
  }
}
