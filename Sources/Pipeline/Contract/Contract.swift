package import Telemetry

/// The version of a contract: three numbers, as Semantic Versioning 2.0 orders them; without labels.
package struct ContractVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
  package var major: Int
  package var minor: Int
  package var patch: Int

  package init(major: Int, minor: Int, patch: Int) {
    self.major = major
    self.minor = minor
    self.patch = patch
  }

  /// `1`, `1.2` or `1.2.0`, each number up to nine digits without leading zeros; nil for anything else.
  package init?(_ text: String) {
    let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard (1...3).contains(parts.count) else { return nil }
    var numbers = [0, 0, 0]
    for (index, part) in parts.enumerated() {
      guard (1...9).contains(part.count), part.allSatisfy({ $0 &- 0x30 <= 9 }),
        part.count == 1 || part.first != 0x30
      else { return nil }
      numbers[index] = part.reduce(0) { $0 * 10 + Int($1 &- 0x30) }
    }
    self.init(major: numbers[0], minor: numbers[1], patch: numbers[2])
  }

  package var description: String { "\(major).\(minor).\(patch)" }

  package static func < (left: ContractVersion, right: ContractVersion) -> Bool {
    (left.major, left.minor, left.patch) < (right.major, right.minor, right.patch)
  }
}

/// What a dataset's producer and its readers agreed on: the form of its readings, and what else is expected of
/// them. Holds no state; ``ExpectationChecks`` does.
package struct Contract: Sendable, Hashable {
  package var name: String
  package var version: ContractVersion
  package var schema: JSONSchema
  package var expectations: [Expectation]
  /// Of the file that it was read from: what tells two contracts apart.
  package var digest: Digest
  /// Who answers for the data, and what it is, in words of their own.
  package var owner: String?
  package var about: String?

  package init(
    name: String, version: ContractVersion, schema: JSONSchema, expectations: [Expectation] = [], digest: Digest,
    owner: String? = nil, about: String? = nil
  ) {
    self.name = name
    self.version = version
    self.schema = schema
    self.expectations = expectations
    self.digest = digest
    self.owner = owner
    self.about = about
  }

  /// As configurations name it: `climate@1.2.0`.
  package var description: String { "\(name)@\(version)" }

  package static func == (a: Contract, b: Contract) -> Bool {
    a.name == b.name && a.version == b.version && a.digest == b.digest
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(name)
    hasher.combine(version)
    hasher.combine(digest)
  }
}
