extension JSONSchema {
  /// The members that `properties` and `required` of the schema itself name, in their order: what a catalogue
  /// wants to know of a dataset. What stands behind references and combinations is not gone into.
  package var fields: [ContractField] {
    guard let rules = objectRules(of: 0) else { return [] }
    return program.names.entries(of: rules.names).map { index in
      let entry = program.names.entries[index]
      return ContractField(
        name: program.names.name(index), type: types(of: Int(entry.node)), isRequired: entry.required >= 0)
    }
  }

  private func operations(of node: Int) -> ArraySlice<SchemaOperation> {
    let node = program.nodes[node]
    let first = Int(node.firstOperation)
    return program.operations[first..<first + Int(node.operationCount)]
  }

  private func objectRules(of node: Int) -> ObjectRules? {
    guard !program.nodes.isEmpty else { return nil }
    return operations(of: node).first { $0.code == .object }.map { program.objectRules[Int($0.a)] }
  }

  private func types(of node: Int) -> String? {
    guard node >= 0, let type = operations(of: node).first(where: { $0.code == .type }) else { return nil }
    return SchemaTypes(rawValue: type.a).names.joined(separator: "|")
  }
}
