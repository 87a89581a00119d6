/// Compares two schemas: does everything that fits `one` fit `other`?
struct SchemaComparison {
  typealias Place = SchemaDocuments.Place

  /// Pairs of schemas that are compared at most, so that schemas full of references come to an end.
  private static let maximumPairs = 20_000
  /// Pairs within one another: far more levels than readings have, and some 100 KiB of stack.
  private static let maximumDepth = 64

  /// A schema and its keywords. `place` is nil for one that is not written: `true`.
  struct Schema {
    var place: Place?
    var keywords: [String: Place] = [:]
    var isNever = false

    static let anything = Schema()
  }

  private struct Pair: Hashable {
    var one: Place?
    var other: Place?
  }

  private let direction: Incompatibility.Direction
  var one: SchemaDocuments
  var other: SchemaDocuments
  private var issues: [Incompatibility] = []
  /// Pairs that are being compared or have been: what leads back to one holds if the rest does.
  private var seen: Set<Pair> = []
  private var pairs = 0
  private var depth = 0

  init(_ direction: Incompatibility.Direction, one: SchemaDocuments, other: SchemaDocuments) {
    self.direction = direction
    self.one = one
    self.other = other
  }

  mutating func run(_ oneText: [UInt8], _ otherText: [UInt8]) throws(SchemaError) -> [Incompatibility] {
    _ = try one.add(oneText, uri: "")
    _ = try other.add(otherText, uri: "")
    let root = Place(document: 0, index: 0)
    compare(schema(root, one), schema(root, other), at: "")
    return issues
  }

  // MARK: Reporting

  /// The words for the two schemas.
  var oneName: String { direction == .backward ? "old" : "new" }
  var otherName: String { direction == .backward ? "new" : "old" }

  mutating func report(_ kind: Incompatibility.Kind, _ location: String, _ reason: String) {
    let issue = Incompatibility(kind: kind, direction: direction, location: location, reason: reason)
    if !issues.contains(issue) { issues.append(issue) }
  }

  /// What a comparison that need not hold would report.
  mutating func trial(_ body: (inout SchemaComparison) -> Void) -> Bool {
    let (known, compared) = (issues, seen)
    issues = []
    body(&self)
    let holds = issues.isEmpty
    issues = known
    // What was taken for granted on the way does not hold if the whole did not.
    if !holds { seen = compared }
    return holds
  }

  // MARK: Schemas

  func schema(_ place: Place, _ documents: SchemaDocuments) -> Schema {
    var schema = Schema(place: place)
    if documents.value(place).kind == .boolean {
      schema.isNever = documents.raw(place).elementsEqual("false".utf8)
    }
    guard documents.value(place).kind == .object else { return schema }
    for (name, place) in documents.members(place) {
      let keyword = String(decoding: name, as: UTF8.self)
      if !SchemaComparison.describing.contains(keyword) { schema.keywords[keyword] = place }
    }
    return schema
  }

  /// Keywords that refuse nothing.
  private static let describing: Set<String> = [
    "$schema", "$id", "$anchor", "$dynamicAnchor", "$comment", "$defs", "$vocabulary", "definitions", "title",
    "description", "default", "deprecated", "readOnly", "writeOnly", "examples", "format", "contentEncoding",
    "contentMediaType", "contentSchema",
  ]

  /// Follows `$ref` where it stands alone.
  private func followed(_ start: Schema, _ documents: inout SchemaDocuments) -> Schema {
    var schema = start
    // Circles were refused when the schema was compiled; a chain is at most as long as it has schemas.
    while schema.keywords.count == 1, let reference = schema.keywords["$ref"],
      let text = documents.string(reference), let target = try? documents.resolve(text, at: reference).place
    {
      schema = self.schema(target, documents)
    }
    return schema
  }

  // MARK: Comparing

  mutating func compare(_ left: Schema, _ right: Schema, at location: String) {
    let left = followed(left, &one)
    let right = followed(right, &other)
    if left.isNever || (right.keywords.isEmpty && !right.isNever) { return }
    if right.isNever {
      report(.narrowed, location, "the \(oneName) schema allows a value here, the \(otherName) one none")
      return
    }
    guard seen.insert(Pair(one: left.place, other: right.place)).inserted else { return }
    pairs += 1
    depth += 1
    defer { depth -= 1 }
    guard pairs <= SchemaComparison.maximumPairs, depth <= SchemaComparison.maximumDepth else {
      report(.undecided, location, "the schemas are too large to be compared from here on")
      return
    }
    // Alternatives: it is enough that each of them fits, or that all of it does whichever is taken.
    for keyword in ["anyOf", "oneOf"] {
      guard let place = left.keywords[keyword] else { continue }
      let branches = one.elements(place).map { schema($0, one) }
      if trial({ comparison in
        for branch in branches { comparison.compare(branch, right, at: location) }
      }) {
        return
      }
    }
    // Demands that come together: it is enough that one of them is met only by what fits.
    if let place = left.keywords["allOf"] {
      for branch in one.elements(place).map({ schema($0, one) })
      where trial({ $0.compare(branch, right, at: location) }) {
        return
      }
    }
    if let reference = left.keywords["$ref"], let text = one.string(reference),
      let target = try? one.resolve(text, at: reference).place
    {
      let referenced = schema(target, one)
      if trial({ $0.compare(referenced, right, at: location) }) { return }
    }
    compareInPlace(left, right, at: location)
    compareValues(left, right, at: location)
  }

  /// The parts of `right` that are schemas for the same value.
  private mutating func compareInPlace(_ left: Schema, _ right: Schema, at location: String) {
    if let reference = right.keywords["$ref"] {
      if let text = other.string(reference), let target = try? other.resolve(text, at: reference).place {
        compare(left, schema(target, other), at: location)
      } else {
        report(.undecided, location + "/$ref", "the reference cannot be followed")
      }
    }
    if let place = right.keywords["allOf"] {
      for (number, element) in other.elements(place).enumerated() {
        compare(left, schema(element, other), at: "\(location)/allOf/\(number)")
      }
    }
    if let place = right.keywords["anyOf"], !isSame("anyOf", left, right) {
      let branches = other.elements(place).map { schema($0, other) }
      let fits = branches.contains { branch in trial { $0.compare(left, branch, at: location) } }
      if !fits {
        report(
          .undecided, location + "/anyOf",
          "it cannot be told whether the alternatives of the \(otherName) schema cover the \(oneName) one")
      }
    }
    let others = [
      "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies",
      "patternProperties", "propertyNames", "contains", "minContains", "maxContains", "unevaluatedItems",
      "unevaluatedProperties", "$dynamicRef",
    ]
    for keyword in others where right.keywords[keyword] != nil && !isSame(keyword, left, right) {
      report(
        .undecided, location + JSONPointer.step(keyword.utf8),
        "\(keyword) differs, and it cannot be told whether that matters")
    }
  }

  /// Whether a keyword has the same value in both, without references, which may lead to different things.
  func isSame(_ keyword: String, _ left: Schema, _ right: Schema) -> Bool {
    guard let first = left.keywords[keyword], let second = right.keywords[keyword] else { return false }
    return !hasReference(second) && isEqual(first, second)
  }

  private func hasReference(_ place: Place) -> Bool {
    let document = other.documents[place.document]
    return (place.index..<other.value(place).next).contains { index in
      let name = document.text[document.tape.values[index].name]
      let meant = name.withUnsafeBytes { JSONText.unescape($0) }
      return meant == Array("$ref".utf8) || meant == Array("$dynamicRef".utf8)
    }
  }

  func isEqual(_ first: Place, _ second: Place) -> Bool {
    let left = one.documents[first.document]
    let right = other.documents[second.document]
    return left.text.withUnsafeBytes { leftBytes in
      left.tape.values.withUnsafeBufferPointer { leftValues in
        right.text.withUnsafeBytes { rightBytes in
          right.tape.values.withUnsafeBufferPointer { rightValues in
            JSONEquality.equal(
              first.index, JSONPlace(values: leftValues, bytes: leftBytes), second.index,
              JSONPlace(values: rightValues, bytes: rightBytes))
          }
        }
      }
    }
  }
}
