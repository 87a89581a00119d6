internal import Telemetry

/// A contract's name and version, as its file is named: `climate@1.2.0.json`.
package struct ContractID: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// By the rule for names (``nameRule``).
  package var name: String
  package var version: ContractVersion

  package static let nameRule = "1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot"

  package static func isName(_ text: String) -> Bool { BatchIdentity.isName(text) }

  package init(name: String, version: ContractVersion) {
    self.name = name
    self.version = version
  }

  /// Nil for a file that is not named as a contract is.
  package init?(fileName: String) {
    guard fileName.hasSuffix(".json"), let at = fileName.firstIndex(of: "@") else { return nil }
    let version = fileName[fileName.index(after: at)...].dropLast(5)
    self.init(name: String(fileName[..<at]), version: ContractVersion(major: 0, minor: 0, patch: 0))
    guard ContractID.isName(name), let version = ContractVersion(exactly: String(version)) else { return nil }
    self.version = version
  }

  package var fileName: String { "\(description).json" }
  package var description: String { "\(name)@\(version)" }

  /// By name, then by version.
  package static func < (left: ContractID, right: ContractID) -> Bool {
    (left.name, left.version) < (right.name, right.version)
  }
}

/// How a pipeline names its contract: `climate@1` and `climate@1.2` are the newest of their kind, `climate@1.2.0`
/// is one version.
package struct ContractReference: Sendable, Hashable, CustomStringConvertible {
  package var name: String
  package var major: Int
  package var minor: Int?
  package var patch: Int?

  /// Nil for anything but a name, `@`, and one to three numbers with dots between them.
  package init?(_ text: String) {
    let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, ContractID.isName(String(parts[0])), let version = ContractVersion(String(parts[1])) else {
      return nil
    }
    let numbers = parts[1].utf8.count { $0 == UInt8(ascii: ".") } + 1
    name = String(parts[0])
    major = version.major
    minor = numbers > 1 ? version.minor : nil
    patch = numbers > 2 ? version.patch : nil
  }

  package func matches(_ id: ContractID) -> Bool {
    id.name == name && id.version.major == major && minor ?? id.version.minor == id.version.minor
      && patch ?? id.version.patch == id.version.patch
  }

  /// The newest of those that it matches.
  package func newest(of ids: some Sequence<ContractID>) -> ContractID? { ids.filter(matches).max() }

  package var description: String {
    "\(name)@" + [major, minor, patch].compactMap { $0 }.map(String.init).joined(separator: ".")
  }
}

extension ContractVersion {
  /// `1.2.0` and nothing shorter.
  package init?(exactly text: String) {
    guard text.utf8.count(where: { $0 == UInt8(ascii: ".") }) == 2 else { return nil }
    self.init(text)
  }
}
