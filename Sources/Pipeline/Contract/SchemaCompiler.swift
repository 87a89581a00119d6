/// Makes a program of a schema and everything that it refers to.
///
/// Works off a list, never by recursion, so that a chain of references of any length is compiled.
struct SchemaCompiler {
  typealias Place = SchemaDocuments.Place

  let options: JSONSchema.Options
  var documents: SchemaDocuments
  var parts = SchemaProgram.Parts()
  private var numbers: [Place: Int32] = [:]
  private var places: [Place] = []
  /// The nodes that each node applies to the same value.
  private var inPlace: [[Int32]] = []
  /// References by `$dynamicAnchor`: the place in the parts, and the anchor's name.
  private var dynamic: [(number: Int, anchor: String)] = []
  var constantPlaces: [Place] = []

  init(options: JSONSchema.Options, resources: @escaping (String) -> [UInt8]?) {
    self.options = options
    documents = SchemaDocuments(limits: options.limits, fetch: resources)
  }

  mutating func compile(_ text: [UInt8], baseURI: String) throws(SchemaError) -> SchemaProgram {
    _ = try documents.add(text, uri: SchemaURI.split(baseURI).uri)
    _ = try node(Place(document: 0, index: 0))
    var next = 0
    repeat {
      while next < places.count {
        try compileNode(next)
        next += 1
      }
      try linkDynamic()
    } while next < places.count
    try refuseEndless()
    try finishConstants()
    return SchemaProgram(parts)
  }

  /// The number of the node for a place, compiled when its turn comes.
  mutating func node(_ place: Place) throws(SchemaError) -> Int32 {
    if let known = numbers[place] { return known }
    guard places.count < options.limits.nodes else {
      throw documents.error(.tooLarge, place, "there are more than \(options.limits.nodes) schemas")
    }
    let number = Int32(places.count)
    numbers[place] = number
    places.append(place)
    inPlace.append([])
    parts.nodes.append(SchemaNode())
    parts.locations.append(documents.location(place))
    return number
  }

  /// -1 where there is no schema.
  mutating func optionalNode(_ place: Place?) throws(SchemaError) -> Int32 {
    guard let place else { return -1 }
    return try node(place)
  }

  // MARK: One schema

  private mutating func compileNode(_ number: Int) throws(SchemaError) {
    let place = places[number]
    let first = parts.operations.count
    var hasUnevaluated = false
    switch documents.value(place).kind {
    case .boolean:
      if documents.raw(place).elementsEqual("false".utf8) {
        parts.operations.append(SchemaOperation(code: .never))
      }
    case .object:
      var keywords: [String: Place] = [:]
      for (name, place) in documents.members(place) {
        keywords[String(decoding: name, as: UTF8.self)] = place
      }
      let vocabularies = documents.resources[documents.resource(place)].vocabularies
      try compileAssertions(keywords, vocabularies)
      try compileReferences(keywords, number)
      if vocabularies.contains(.applicator) { try compileInPlace(keywords, number) }
      try compileObject(keywords, vocabularies)
      try compileArray(keywords, vocabularies)
      if vocabularies.contains(.unevaluated) {
        let codes: [(String, SchemaOperation.Code)] = [
          ("unevaluatedItems", .unevaluatedItems), ("unevaluatedProperties", .unevaluatedProperties),
        ]
        for (name, code) in codes {
          guard let schema = keywords[name] else { continue }
          hasUnevaluated = true
          parts.operations.append(SchemaOperation(code: code, a: try node(schema)))
        }
      }
    default: throw documents.error(.malformed, place, "a schema must be an object, true or false")
    }
    parts.nodes[number] = SchemaNode(
      firstOperation: Int32(first), operationCount: Int32(parts.operations.count - first),
      resource: Int32(documents.resource(place)), hasUnevaluated: hasUnevaluated)
  }

  private mutating func compileReferences(_ keywords: [String: Place], _ number: Int) throws(SchemaError) {
    if let place = keywords["$ref"] {
      let target = try node(try documents.resolve(try string(place, "$ref"), at: place).place)
      inPlace[number].append(target)
      parts.operations.append(SchemaOperation(code: .reference, a: target))
    }
    guard let place = keywords["$dynamicRef"] else { return }
    let (target, anchor) = try documents.resolve(try string(place, "$dynamicRef"), at: place)
    let initial = try node(target)
    // Only what leads to a $dynamicAnchor is looked for anew.
    guard let anchor,
      documents.resources[documents.resource(target)].dynamicAnchors[anchor] == target.index
    else {
      inPlace[number].append(initial)
      parts.operations.append(SchemaOperation(code: .reference, a: initial))
      return
    }
    dynamic.append((parts.dynamicReferences.count, anchor))
    parts.operations.append(
      SchemaOperation(code: .dynamicReference, a: Int32(parts.dynamicReferences.count)))
    parts.dynamicReferences.append(DynamicReference(initial: initial))
  }

  /// Finds the targets that the resources known by now have for each reference by `$dynamicAnchor`.
  private mutating func linkDynamic() throws(SchemaError) {
    for (number, anchor) in dynamic {
      for (resource, known) in documents.resources.enumerated() {
        guard let index = known.dynamicAnchors[anchor] else { continue }
        let target = try node(Place(document: known.document, index: index))
        parts.dynamicReferences[number].targets[Int32(resource)] = target
      }
    }
  }

  private mutating func compileInPlace(_ keywords: [String: Place], _ number: Int) throws(SchemaError) {
    let lists: [(String, SchemaOperation.Code)] = [("allOf", .allOf), ("anyOf", .anyOf), ("oneOf", .oneOf)]
    for (name, code) in lists {
      guard let place = keywords[name] else { continue }
      let range = try schemaList(place, name)
      inPlace[number] += parts.lists[Int(range.lowerBound)..<Int(range.upperBound)]
      parts.operations.append(SchemaOperation(code: code, a: range.lowerBound, b: range.upperBound))
    }
    if let place = keywords["not"] {
      let schema = try node(place)
      inPlace[number].append(schema)
      parts.operations.append(SchemaOperation(code: .not, a: schema))
    }
    if let place = keywords["if"] {
      let condition = try node(place)
      var branches: [Int32] = []
      for name in ["then", "else"] { branches.append(try optionalNode(keywords[name])) }
      inPlace[number] += [condition] + branches.filter { $0 >= 0 }
      parts.operations.append(SchemaOperation(code: .condition, a: condition, b: Int32(parts.lists.count)))
      parts.lists += branches
    }
    // Earlier drafts had one keyword for both; schemas still have it, and nothing else is meant by it.
    for keyword in ["dependentSchemas", "dependencies"] {
      guard let place = keywords[keyword] else { continue }
      for (name, schema) in try object(place, keyword) {
        if keyword == "dependencies", documents.value(schema).kind == .array {
          try demand(schema, keyword, beside: name)
        } else {
          let target = try node(schema)
          inPlace[number].append(target)
          parts.operations.append(
            SchemaOperation(code: .dependentSchemas, a: Int32(parts.dependentNodes.count)))
          parts.dependentNodes.append((name, target))
        }
      }
    }
  }

  /// The names that an object must have if it has `name`.
  mutating func demand(_ place: Place, _ keyword: String, beside name: [UInt8]) throws(SchemaError) {
    parts.operations.append(
      SchemaOperation(code: .dependentRequired, a: Int32(parts.dependentNames.count)))
    parts.dependentNames.append((name, try strings(place, keyword)))
  }

  // MARK: The whole

  /// Refuses schemas that lead back to themselves without having gone into the value.
  private func refuseEndless() throws(SchemaError) {
    enum State { case unseen, open, done }
    var states = [State](repeating: .unseen, count: places.count)
    for start in places.indices where states[start] == .unseen {
      var path: [(node: Int, edge: Int)] = [(start, 0)]
      states[start] = .open
      while let (node, edge) = path.last {
        guard edge < inPlace[node].count else {
          states[node] = .done
          path.removeLast()
          continue
        }
        path[path.count - 1].edge += 1
        let next = Int(inPlace[node][edge])
        switch states[next] {
        case .open:
          throw documents.error(
            .endless, places[next], "the schema leads back to itself without going into the value")
        case .unseen:
          states[next] = .open
          path.append((next, 0))
        case .done: break
        }
      }
    }
  }

  /// Puts all constants into one text with one tape.
  private mutating func finishConstants() throws(SchemaError) {
    guard !constantPlaces.isEmpty else { return }
    var text: [UInt8] = [UInt8(ascii: "[")]
    for (number, place) in constantPlaces.enumerated() {
      if number > 0 { text.append(UInt8(ascii: ",")) }
      text += documents.raw(place)
    }
    text.append(UInt8(ascii: "]"))
    var tape = JSONTape()
    let error: JSONError? = text.withUnsafeBytes { bytes in
      do throws(JSONError) {
        try tape.read(bytes)
        return nil
      } catch { return error }
    }
    // Each is JSON and at least one deep in its document, so that nothing can go wrong but the length.
    if let error { throw SchemaError(.tooLarge, at: "", "the constants are too long: \(error)") }
    var index = 1
    text.withUnsafeBytes { bytes in
      tape.values.withUnsafeBufferPointer { values in
        let place = JSONPlace(values: values, bytes: bytes)
        for number in parts.constantList.indices {
          parts.constantList[number] = SchemaConstant(hash: JSONEquality.hash(index, place), index: index)
          index = values[index].next
        }
      }
    }
    parts.constantText = text
    parts.constants = tape
  }

  // MARK: Keyword values

  func string(_ place: Place, _ name: String) throws(SchemaError) -> String {
    guard let text = documents.string(place) else {
      throw documents.error(.malformed, place, "\(name) must be a string")
    }
    return text
  }

  func object(_ place: Place, _ name: String) throws(SchemaError) -> [(name: [UInt8], place: Place)] {
    guard documents.value(place).kind == .object else {
      throw documents.error(.malformed, place, "\(name) must be an object")
    }
    return documents.members(place)
  }

  func strings(_ place: Place, _ name: String) throws(SchemaError) -> [[UInt8]] {
    guard documents.value(place).kind == .array else {
      throw documents.error(.malformed, place, "\(name) must be an array of strings")
    }
    var strings: [[UInt8]] = []
    var known: Set<[UInt8]> = []
    for element in documents.elements(place) {
      let text = Array(try string(element, "an element of \(name)").utf8)
      if known.insert(text).inserted { strings.append(text) }
    }
    return strings
  }

  /// A non-empty array of schemas: their nodes in the lists.
  mutating func schemaList(_ place: Place, _ name: String) throws(SchemaError) -> Range<Int32> {
    guard documents.value(place).kind == .array, documents.value(place).count > 0 else {
      throw documents.error(.malformed, place, "\(name) must be an array with at least one schema")
    }
    var nodes: [Int32] = []
    for element in documents.elements(place) { nodes.append(try node(element)) }
    let first = Int32(parts.lists.count)
    parts.lists += nodes
    return first..<Int32(parts.lists.count)
  }
}
