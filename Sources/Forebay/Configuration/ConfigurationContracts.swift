internal import Pipeline
internal import Telemetry

/// The folder that contracts are taken from, each in a file `NAME@X.Y.Z.json`.
struct ContractFolder {
  /// Beside the configuration file, unless it names another.
  static let defaultName = "contracts"

  /// Absolute.
  let path: String
  let files: ConfigurationFiles

  /// What is there, by name and version; files that are not named as contracts are none.
  func ids() -> Result<[ContractID], ConfigurationFiles.Fault> {
    files.attachmentNames(in: path).map { $0.compactMap { ContractID(fileName: $0) }.sorted() }
  }

  func path(of id: ContractID) -> String { "\(path)/\(id.fileName)" }
}

extension ConfigurationValue {
  /// A contract, the newest that the value's reference means.
  func contract(in folder: ContractFolder) -> Contract? {
    guard let text = text(expected: "a contract, for example climate@1 or climate@1.2.0") else { return nil }
    let ids: [ContractID]
    switch folder.ids() {
    case .success(let found): ids = found
    case .failure(let fault):
      error(
        "the folder of contracts, \(folder.path), \(fault.reason)",
        hint: fault == .missing ? "make it, or name another with the key 'contracts'" : hint(for: fault),
        concern: .attachment)
      return nil
    }
    guard let reference = ContractReference(text) else {
      let meant = ids.last { $0.name == text }.map { "did you mean '\($0.name)@\($0.version.major)'?" }
      error(
        "\(quoted(text)) names no contract, expected a name and a version such as climate@1 or climate@1.2.0",
        hint: meant)
      return nil
    }
    guard let id = reference.newest(of: ids) else {
      error(
        "there is no contract \(quoted(text)) in \(folder.path)", hint: hint(for: reference, among: ids),
        concern: .attachment)
      return nil
    }
    return contract(id, in: folder)
  }

  private func contract(_ id: ContractID, in folder: ContractFolder) -> Contract? {
    let path = folder.path(of: id)
    guard let bytes = attachment(.contract, at: path) else { return nil }
    do throws(ContractFileErrors) {
      let file = try ContractFile(parsing: bytes)
      if file.id == id { return file.contract }
      error(
        "the contract file \(path) says that it is \(file.id)", hint: "a file is named as the contract in it",
        concern: .attachment)
    } catch {
      let first = error.faults.first?.description ?? ""
      let more = error.faults.count > 1 ? " (and \(error.faults.count - 1) more)" : ""
      self.error(
        "the contract file \(path) is refused: \(first)\(more)",
        hint: error.faults.count > 1 ? "forebay schema check \(path) tells all" : nil, concern: .attachment)
    }
    return nil
  }

  /// Contracts that a hint names; more would hide the first.
  private static let namedContracts = 8

  private func hint(for reference: ContractReference, among ids: [ContractID]) -> String {
    let versions = ids.filter { $0.name == reference.name }
    if versions.isEmpty, let name = Suggestion.nearest(to: reference.name, among: Set(ids.map(\.name)).sorted()),
      let newest = ids.last(where: { $0.name == name })
    {
      return "did you mean '\(name)@\(newest.version.major)'?"
    }
    let shown = (versions.isEmpty ? ids : versions).suffix(ConfigurationValue.namedContracts)
    return shown.isEmpty
      ? "there is none; forebay schema register puts one there"
      : "there is: \(shown.map(\.description).joined(separator: ", "))"
  }

  /// `true`, or a mapping of how drift is told.
  func drift() -> DriftSettings? {
    if case .scalar = node.content { return boolean() == true ? DriftSettings() : nil }
    guard let section = section() else { return nil }
    defer { section.close() }
    var drift = DriftSettings()
    section.set(&drift.vanishedAfter, from: "vanished_after") { $0.integer(in: DriftSettings.patience) }
    section.set(&drift.limit, from: "max_devices") { $0.integer(in: DriftSettings.limits) }
    return drift
  }
}

extension ConfigurationDecoder {
  /// - Parameter path: absolute, what the file says; nil where it says nothing.
  func contractFolder(_ path: String?) -> ContractFolder {
    ContractFolder(path: path ?? PathText.absolute(ContractFolder.defaultName, from: origin.folder), files: files)
  }
}
