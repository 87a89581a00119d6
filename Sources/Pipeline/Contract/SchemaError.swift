/// Why a schema cannot be used, and where.
package struct SchemaError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    /// A document is no JSON text.
    case notJSON
    /// A keyword's value is not what the keyword takes.
    case malformed
    /// `$schema` names a dialect other than draft 2020-12 and those built upon it.
    case dialect
    /// A meta-schema demands a vocabulary that Forebay does not know.
    case vocabulary
    /// A reference leads nowhere.
    case unresolved
    /// An identifier or anchor stands twice.
    case ambiguous
    /// References lead around in a circle without ever going into the value.
    case endless
    /// A regular expression is malformed.
    case pattern
    /// The schema is larger than ``SchemaLimits`` allows, or a number in it longer.
    case tooLarge
  }

  package var kind: Kind
  /// JSON Pointer within the document; behind the document's URI where it is not the schema itself.
  package var location: String
  package var reason: String

  package init(_ kind: Kind, at location: String, _ reason: String) {
    self.kind = kind
    self.location = location
    self.reason = reason
  }

  package var description: String {
    location.isEmpty ? "\(reason) (at the schema's root)" : "\(reason) (at \(location))"
  }
}

/// What a schema may cost. The defaults are far beyond any schema that people write.
package struct SchemaLimits: Sendable, Hashable {
  /// Schemas that are compiled, those of referenced documents included.
  package var nodes: Int
  /// Schemas within one another for one value. Payloads are at most 128 deep, and a level takes two or three
  /// through `$ref`; each takes less than 500 bytes of stack.
  package var depth: Int
  /// Schemas applied and members looked at for one value: some 0.1 s.
  package var steps: Int
  /// Documents that are fetched for references.
  package var documents: Int

  package init(nodes: Int = 20_000, depth: Int = 512, steps: Int = 2_000_000, documents: Int = 64) {
    self.nodes = nodes
    self.depth = depth
    self.steps = steps
    self.documents = documents
  }
}

/// What of a value does not fit a schema. Holds nothing of the value but its members' names.
package struct Violation: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    case keyword(SchemaKeyword)
    /// It could not be found out whether the value fits.
    case limit(Limit)
  }

  package enum Limit: Sendable, Hashable {
    /// Schemas are nested too deep for this value.
    case depth
    /// Looking at the value takes too much work.
    case work
    /// Searching for a pattern takes too much work.
    case pattern
  }

  /// Bytes of ``instancePath``: names can be as long as a payload. What is beyond is cut off behind `…`.
  package static let maximumPath = 256

  package var kind: Kind
  /// JSON Pointer to the value, from the one that was validated.
  package var instancePath: String
  /// JSON Pointer to the keyword in its document; behind the document's URI where it is not the schema itself.
  package var keywordLocation: String
  /// What is wrong, in words.
  package var reason: String

  package var description: String {
    instancePath.isEmpty ? reason : "\(instancePath): \(reason)"
  }
}
