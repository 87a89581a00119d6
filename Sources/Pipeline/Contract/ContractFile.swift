internal import Telemetry

/// A contract as it lies in a file: what was agreed, and who answers for it.
///
/// A JSON object with `name`, `version`, `schema` and, where wanted, `owner`, `description`, `compatibility`,
/// `check_formats` and `expectations`; docs/contracts.md describes each.
package struct ContractFile: Sendable {
  /// Bytes of a file: nobody writes a longer one, and its schema is compiled at every start.
  package static let limit = 1 << 20
  /// Each is looked at for every reading, and remembers something for every device.
  package static let maximumExpectations = 128

  /// What a new version of a contract owes to the one before.
  package enum Compatibility: String, Sendable, Hashable, CaseIterable {
    /// Readers of the new version understand readings of the old one.
    case backward
    /// Readers of the old version understand readings of the new one.
    case forward
    case full
    /// Nothing.
    case none

    package var mode: SchemaCompatibility.Mode? {
      switch self {
      case .backward: .backward
      case .forward: .forward
      case .full: .full
      case .none: nil
      }
    }
  }

  package var contract: Contract
  /// The schema as it stands in the file.
  package var schema: [UInt8]
  /// Who is to be asked about it.
  package var owner: String?
  package var description: String?
  package var compatibility: Compatibility

  package var id: ContractID { ContractID(name: contract.name, version: contract.version) }

  /// Reads a file's bytes.
  /// - Throws: all that is wrong with it, in its order; after a fault in the JSON itself only that.
  package init(parsing bytes: [UInt8]) throws(ContractFileErrors) {
    let outcome: Result<ContractFile, ContractFileErrors> = bytes.withUnsafeBytes { buffer in
      var reader = ContractFileReader(buffer)
      guard let file = reader.read(digest: { Digest(of: bytes) }) else {
        return .failure(ContractFileErrors(faults: reader.faults))
      }
      return .success(file)
    }
    self = try outcome.get()
  }

  init(
    contract: Contract, schema: [UInt8], owner: String?, description: String?, compatibility: Compatibility
  ) {
    self.contract = contract
    self.schema = schema
    self.owner = owner
    self.description = description
    self.compatibility = compatibility
  }
}

/// Everything that is wrong with a contract file; at least one thing.
package struct ContractFileErrors: Error, Sendable, Hashable, CustomStringConvertible {
  /// One thing that is wrong, and where.
  package struct Fault: Sendable, Hashable, CustomStringConvertible {
    /// From 1; columns count Unicode scalars.
    package var line: Int
    package var column: Int
    /// JSON Pointer (RFC 6901); empty for the file as a whole.
    package var pointer: String
    package var reason: String
    /// What to try.
    package var hint: String?

    /// `12:5: /expectations/0/range: the reason; the hint`.
    package var description: String {
      "\(line):\(column): " + (pointer.isEmpty ? "" : "\(pointer): ") + reason + (hint.map { "; \($0)" } ?? "")
    }
  }

  package var faults: [Fault]

  /// A line for each.
  package var description: String { faults.map(\.description).joined(separator: "\n") }
}
