import Pipeline

/// The reader of contract files with the compiler of schemas behind it, and the comparison of a schema with itself
/// and with one that says nothing. Whatever the bytes, there is a contract that keeps its promises, or a list of
/// faults with places in the file.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzContract(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  do throws(ContractFileErrors) {
    let file = try ContractFile(parsing: bytes)
    require(ContractID(fileName: file.id.fileName) == file.id, "\(file.id) has no file name")
    require(
      ContractReference("\(file.id)")?.newest(of: [file.id]) == file.id, "\(file.id) cannot be referred to")
    require(file.contract.expectations.count <= ContractFile.maximumExpectations, "too many expectations")
    for expectation in file.contract.expectations {
      if case .fresh = expectation.rule { continue }
      require(expectation.path != nil, "an expectation of nothing")
    }
    // A file is its own reading: the schema is run on something.
    var tape = JSONTape()
    bytes.withUnsafeBytes { buffer in
      guard (try? tape.read(buffer)) != nil else { return }
      let first = file.contract.schema.validate(tape, in: buffer)
      require(file.contract.schema.validate(tape, in: buffer) == first, "two answers")
    }
    for (old, new) in [(file.schema, file.schema), (file.schema, Array("{}".utf8)), (Array("{}".utf8), file.schema)] {
      let found = try? SchemaCompatibility.check(old: old, new: new, mode: .full)
      require(found != nil, "a schema that compiles cannot be compared")
    }
  } catch {
    require(!error.faults.isEmpty, "refused without a fault")
    require(error.faults.count <= 20, "faults without end")
    for fault in error.faults {
      require(fault.line >= 1 && fault.line <= bytes.count + 1, "line \(fault.line) is not in the file")
      require(fault.column >= 1 && fault.column <= bytes.count + 1, "column \(fault.column) is not in the file")
    }
    require(error.description.utf8.count < 4_096 + 40 * bytes.count, "a report without end")
  }
  return 0
}
