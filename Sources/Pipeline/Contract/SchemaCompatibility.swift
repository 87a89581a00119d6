/// A reason why readings of one version of a schema might not fit another.
package struct Incompatibility: Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    /// Values that the one schema allows the other refuses.
    case narrowed
    /// A member that the one schema does not describe, so that it may be anything, the other describes.
    case undescribed
    /// It cannot be found out by comparing the schemas.
    case undecided
  }

  package enum Direction: Sendable, Hashable {
    /// Readings of the old schema against the new one.
    case backward
    /// Readings of the new schema against the old one.
    case forward
  }

  package var kind: Kind
  package var direction: Direction
  /// JSON Pointer into the schema that the readings must fit: the new one backward, the old one forward.
  package var location: String
  /// In words.
  package var reason: String

  package var description: String { location.isEmpty ? reason : "\(location): \(reason)" }
}

/// Whether what fits one version of a schema fits another, as far as comparing them can tell.
///
/// Careful: nothing reported means that every reading of the one fits the other. What is reported as narrowed may
/// in rare cases be ruled out by other keywords together; what is undecided says so.
package enum SchemaCompatibility {
  package enum Mode: String, Sendable, Hashable, CaseIterable {
    /// Readers of the new schema understand what was written under the old one.
    case backward
    /// Readers of the old schema understand what is written under the new one.
    case forward
    case full
  }

  /// - Parameter resources: the texts of other documents by their URIs.
  package static func check(
    old: [UInt8], new: [UInt8], mode: Mode, limits: SchemaLimits = SchemaLimits(),
    resources: @escaping (String) -> [UInt8]? = { _ in nil }
  ) throws(SchemaError) -> [Incompatibility] {
    // Both must be schemas before they are compared.
    let options = JSONSchema.Options(limits: limits)
    _ = try JSONSchema(compiling: old, options: options, resources: resources)
    _ = try JSONSchema(compiling: new, options: options, resources: resources)
    var found: [Incompatibility] = []
    for direction in [Incompatibility.Direction.backward, .forward] {
      guard mode == .full || (mode == .backward) == (direction == .backward) else { continue }
      let isBackward = direction == .backward
      var comparison = SchemaComparison(
        direction, one: SchemaDocuments(limits: limits, fetch: resources),
        other: SchemaDocuments(limits: limits, fetch: resources))
      found += try comparison.run(isBackward ? old : new, isBackward ? new : old)
    }
    return found
  }
}
