/// The vocabularies of draft 2020-12 that change what a schema means.
struct SchemaVocabularies: OptionSet, Sendable {
  let rawValue: UInt8
  static let applicator = SchemaVocabularies(rawValue: 1)
  static let unevaluated = SchemaVocabularies(rawValue: 2)
  static let validation = SchemaVocabularies(rawValue: 4)
  static let formatAssertion = SchemaVocabularies(rawValue: 8)
  static let standard: SchemaVocabularies = [.applicator, .unevaluated, .validation]

  private static let known: [String: SchemaVocabularies] = [
    "core": [], "applicator": .applicator, "unevaluated": .unevaluated, "validation": .validation,
    "meta-data": [], "format-annotation": [], "format-assertion": .formatAssertion, "content": [],
  ]

  init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Nil for one that Forebay does not know.
  init?(uri: String) {
    let prefix = "https://json-schema.org/draft/2020-12/vocab/"
    guard uri.hasPrefix(prefix), let known = SchemaVocabularies.known[String(uri.dropFirst(prefix.count))]
    else { return nil }
    self = known
  }
}

/// The documents that a schema consists of, the resources in them, and the way from a reference to its target
/// (JSON Schema core, sections 8 and 9).
struct SchemaDocuments {
  struct Document {
    let uri: String
    let text: [UInt8]
    let tape: JSONTape
    /// The resource that each value of the tape belongs to.
    var resourceAt: [Int32]
  }

  /// A schema with an identifier of its own.
  struct Resource {
    /// Absolute, without fragment.
    var uri: String
    var document: Int
    /// Its place on the document's tape.
    var root: Int
    var vocabularies: SchemaVocabularies
    var anchors: [String: Int] = [:]
    var dynamicAnchors: [String: Int] = [:]
  }

  /// A schema by its place.
  struct Place: Hashable {
    var document: Int
    var index: Int
  }

  private(set) var documents: [Document] = []
  private(set) var resources: [Resource] = []
  private var resourceByURI: [String: Int] = [:]
  private var vocabulariesByURI: [String: SchemaVocabularies] = [MetaSchemas.dialect: .standard]
  private let limits: SchemaLimits
  private let fetch: (String) -> [UInt8]?

  init(limits: SchemaLimits, fetch: @escaping (String) -> [UInt8]?) {
    self.limits = limits
    self.fetch = fetch
  }

  // MARK: Looking

  func value(_ place: Place) -> JSONTape.Value { documents[place.document].tape.values[place.index] }

  /// The text of a string; nil for any other value.
  func string(_ place: Place) -> String? {
    let value = value(place)
    guard value.kind == .string else { return nil }
    return documents[place.document].text.withUnsafeBytes {
      String(decoding: documents[place.document].tape.text(value, in: $0), as: UTF8.self)
    }
  }

  /// A value's text as it stands.
  func raw(_ place: Place) -> ArraySlice<UInt8> {
    documents[place.document].text[value(place).range]
  }

  /// An object's members in their order; of a name that stands there several times, the last.
  func members(_ place: Place) -> [(name: [UInt8], place: Place)] {
    var members: [(name: [UInt8], place: Place)] = []
    var positions: [[UInt8]: Int] = [:]
    let document = documents[place.document]
    var child = place.index + 1
    while child < document.tape.values[place.index].next {
      let value = document.tape.values[child]
      let raw = document.text[value.name]
      let name = value.nameHasEscapes ? raw.withUnsafeBytes { JSONText.unescape($0) } : Array(raw)
      let member = (name, Place(document: place.document, index: child))
      if let position = positions[name] {
        members[position] = member
      } else {
        positions[name] = members.count
        members.append(member)
      }
      child = value.next
    }
    return members
  }

  /// An array's elements.
  func elements(_ place: Place) -> [Place] {
    var elements: [Place] = []
    var child = place.index + 1
    while child < value(place).next {
      elements.append(Place(document: place.document, index: child))
      child = documents[place.document].tape.values[child].next
    }
    return elements
  }

  func resource(_ place: Place) -> Int { Int(documents[place.document].resourceAt[place.index]) }

  /// The JSON Pointer of a value in its document; behind the document's URI where it is not the schema itself.
  func location(_ place: Place) -> String {
    (place.document == 0 ? "" : documents[place.document].uri + "#") + pointer(place)
  }

  func pointer(_ place: Place) -> String {
    var pointer = ""
    var index = 0
    while index < place.index {
      let isObject = documents[place.document].tape.values[index].kind == .object
      var child = index + 1
      var ordinal = 0
      let values = documents[place.document].tape.values
      while values[child].next <= place.index {
        ordinal += 1
        child = values[child].next
      }
      if isObject {
        let raw = documents[place.document].text[values[child].name]
        pointer += JSONPointer.step(raw.withUnsafeBytes { JSONText.unescape($0) })
      } else {
        pointer += "/\(ordinal)"
      }
      index = child
    }
    return pointer
  }

  func error(_ kind: SchemaError.Kind, _ place: Place, _ reason: String) -> SchemaError {
    SchemaError(kind, at: location(place), reason)
  }

  // MARK: Documents

  /// Reads a document and registers all that has an identifier in it. The first is the schema itself.
  mutating func add(_ text: [UInt8], uri: String) throws(SchemaError) -> Int {
    let number = documents.count
    guard number <= limits.documents else {
      throw SchemaError(.tooLarge, at: "", "the schema refers to more than \(limits.documents) documents")
    }
    var tape = JSONTape()
    let error: JSONError? = text.withUnsafeBytes { bytes in
      do throws(JSONError) {
        try tape.read(bytes)
        return nil
      } catch { return error }
    }
    if let error { throw SchemaError(.notJSON, at: number == 0 ? "" : uri + "#", "\(error)") }
    guard tape.values.count <= limits.nodes * 8 else {
      throw SchemaError(.tooLarge, at: number == 0 ? "" : uri + "#", "the document has too many values")
    }
    let resource = resources.count
    documents.append(
      Document(
        uri: uri, text: text, tape: tape,
        resourceAt: Array(repeating: Int32(resource), count: tape.values.count)))
    resources.append(Resource(uri: uri, document: number, root: 0, vocabularies: .standard))
    resourceByURI[uri] = resource
    try register(Place(document: number, index: 0), resource)
    return number
  }

  private static let schemas: Set<String> = [
    "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames",
    "then", "unevaluatedItems", "unevaluatedProperties",
  ]
  private static let schemaArrays: Set<String> = ["allOf", "anyOf", "oneOf", "prefixItems"]
  private static let schemaMaps: Set<String> = [
    "$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties",
  ]

  /// Registers a schema's identifiers and those of the schemas in it; as deep as a tape is.
  private mutating func register(_ place: Place, _ outer: Int) throws(SchemaError) {
    guard value(place).kind == .object else { return }
    let members = members(place).map { (name: String(decoding: $0.name, as: UTF8.self), place: $0.place) }
    var resource = outer
    if let id = members.first(where: { $0.name == "$id" })?.place {
      resource = try identify(place, id, outer)
    }
    let isRoot = resources[resource].document == place.document && resources[resource].root == place.index
    if isRoot, let dialect = members.first(where: { $0.name == "$schema" })?.place {
      resources[resource].vocabularies = try vocabularies(dialect)
    }
    for (name, child) in members {
      if name == "$anchor" || name == "$dynamicAnchor" {
        guard let anchor = string(child), !anchor.isEmpty else {
          throw error(.malformed, child, "\(name) must be a name")
        }
        if let known = resources[resource].anchors[anchor], known != place.index {
          throw error(.ambiguous, child, "the anchor \"\(anchor)\" stands twice")
        }
        resources[resource].anchors[anchor] = place.index
        if name == "$dynamicAnchor" { resources[resource].dynamicAnchors[anchor] = place.index }
      } else if SchemaDocuments.schemas.contains(name) {
        try register(child, resource)
      } else if SchemaDocuments.schemaArrays.contains(name), value(child).kind == .array {
        for element in elements(child) { try register(element, resource) }
      } else if SchemaDocuments.schemaMaps.contains(name), value(child).kind == .object {
        for member in self.members(child) { try register(member.place, resource) }
      }
    }
  }

  /// The resource that a schema with `$id` is.
  private mutating func identify(_ place: Place, _ id: Place, _ outer: Int) throws(SchemaError) -> Int {
    guard let text = string(id) else { throw error(.malformed, id, "$id must be a URI") }
    let (reference, fragment) = SchemaURI.split(text)
    guard fragment?.isEmpty ?? true else {
      throw error(.malformed, id, "$id must have no fragment; $anchor names a part of a schema")
    }
    let uri = SchemaURI.resolve(reference, base: resources[outer].uri)
    if place.index == 0 {
      resources[outer].uri = uri
      resourceByURI[uri] = resourceByURI[uri] ?? outer
      return outer
    }
    if resourceByURI[uri] != nil { throw error(.ambiguous, id, "another schema has the same $id") }
    let resource = resources.count
    resources.append(
      Resource(
        uri: uri, document: place.document, root: place.index,
        vocabularies: resources[outer].vocabularies))
    resourceByURI[uri] = resource
    for index in place.index..<value(place).next {
      documents[place.document].resourceAt[index] = Int32(resource)
    }
    return resource
  }

  // MARK: Dialects

  private mutating func vocabularies(_ dialect: Place) throws(SchemaError) -> SchemaVocabularies {
    guard let text = string(dialect) else { throw error(.malformed, dialect, "$schema must be a URI") }
    let uri = SchemaURI.split(text).uri
    if let known = vocabulariesByURI[uri] { return known }
    guard !uri.hasPrefix("http://json-schema.org/"), !uri.hasPrefix("https://json-schema.org/draft/2019-"),
      let source = MetaSchemas.text(uri) ?? fetch(uri)
    else {
      throw error(
        .dialect, dialect, "only JSON Schema draft 2020-12 is understood; write \"\(MetaSchemas.dialect)\"")
    }
    var meta = SchemaDocuments(limits: limits, fetch: { _ in nil })
    // Only its members are looked at, so that its own dialect and its references do not matter.
    let root = try meta.read(source, uri: uri)
    var vocabularies = SchemaVocabularies.standard
    if let list = meta.members(root).first(where: { $0.name.elementsEqual("$vocabulary".utf8) })?.place,
      meta.value(list).kind == .object
    {
      vocabularies = []
      for (name, place) in meta.members(list) {
        let isDemanded = meta.raw(place).elementsEqual("true".utf8)
        if let known = SchemaVocabularies(uri: String(decoding: name, as: UTF8.self)) {
          vocabularies.formUnion(known)
        } else if isDemanded {
          throw error(.vocabulary, dialect, "the meta-schema demands a vocabulary that Forebay does not know")
        }
      }
    }
    vocabulariesByURI[uri] = vocabularies
    return vocabularies
  }

  /// Reads a document without registering anything.
  private mutating func read(_ text: [UInt8], uri: String) throws(SchemaError) -> Place {
    var tape = JSONTape()
    let isJSON = text.withUnsafeBytes { bytes in (try? tape.read(bytes)) != nil }
    guard isJSON, tape.root.kind == .object else {
      throw SchemaError(.notJSON, at: uri + "#", "the meta-schema is no JSON object")
    }
    documents.append(Document(uri: uri, text: text, tape: tape, resourceAt: []))
    return Place(document: 0, index: 0)
  }

  // MARK: References

  /// Where a reference leads.
  /// - Returns: the schema's place, and the anchor's name where the reference has one.
  mutating func resolve(
    _ reference: String, at origin: Place
  ) throws(SchemaError) -> (place: Place, anchor: String?) {
    let (uri, fragment) = SchemaURI.split(reference)
    let here = resource(origin)
    let target = uri.isEmpty ? here : try find(SchemaURI.resolve(uri, base: resources[here].uri), origin)
    let root = Place(document: resources[target].document, index: resources[target].root)
    guard let fragment, !fragment.isEmpty else { return (root, nil) }
    let decoded = SchemaURI.decoded(fragment)
    guard decoded[0] == UInt8(ascii: "/") else {
      let anchor = String(decoding: decoded, as: UTF8.self)
      guard let index = resources[target].anchors[anchor] else {
        throw error(.unresolved, origin, "no schema there has the anchor \"\(anchor)\"")
      }
      return (Place(document: root.document, index: index), anchor)
    }
    let document = documents[root.document]
    var index = root.index
    for step in JSONPointer.steps(decoded) {
      var next = document.text.withUnsafeBytes { document.tape.member(step, of: index, in: $0) }
      if next == nil, let number = Int(String(decoding: step, as: UTF8.self)), number >= 0 {
        next = document.tape.element(number, of: index)
      }
      guard let next else {
        throw error(.unresolved, origin, "there is nothing at \"\(fragment)\" where the reference leads")
      }
      index = next
    }
    return (Place(document: root.document, index: index), nil)
  }

  private mutating func find(_ uri: String, _ origin: Place) throws(SchemaError) -> Int {
    if let known = resourceByURI[uri] { return known }
    guard let text = MetaSchemas.text(uri) ?? fetch(uri) else {
      throw error(.unresolved, origin, "there is no document \"\(uri)\"")
    }
    let document = try add(text, uri: uri)
    return resource(Place(document: document, index: 0))
  }
}
