import Pipeline

/// The file of a reference table: refused with its line, or a table whose rows are found and give JSON.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTable(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let shape = bytes.first else { return 0 }
  let csv = Array(bytes.dropFirst())
  var settings = ReferenceTable.Settings(key: "k")
  settings.maximumRows = 50
  if shape & 1 != 0 { settings.delimiter = UInt8(ascii: ";") }
  if shape & 2 != 0 {
    settings.columns = [ReferenceTable.Column("n", kind: .number), ReferenceTable.Column("t", as: "u")]
  }
  settings.placement = shape & 4 != 0 ? .object("site") : .members(prefix: "x_")
  do throws(ReferenceError) {
    let table = try ReferenceTable(csv: csv, settings: settings)
    require(table.count <= 50, "more rows than may be")
    require(table.byteCount <= 64 * (bytes.count + 64), "it grows without a bound")
    // A key that is likely there, and one that is not.
    for key in csv.split(whereSeparator: { $0 == settings.delimiter || $0 == 0x0A || $0 == 0x0D }).prefix(20) {
      for reading in [#"{"a":1,"x_t":2,"site":{}}"#, "{}"] { look(table, Array(key), Array(reading.utf8)) }
    }
  } catch {
    require("\(error)".utf8.count < 4_096 + 2 * bytes.count, "words without end")
  }
  return 0
}

private func look(_ table: ReferenceTable, _ key: [UInt8], _ reading: [UInt8]) {
  var tape = JSONTape()
  reading.withUnsafeBytes { reading in
    guard (try? tape.read(reading)) != nil else { fatalError("the reading is JSON") }
    key.withUnsafeBytes { key in
      var out: [UInt8] = []
      let isThere = table.append(tape, 0, in: reading, key: key, to: &out)
      if !isThere { require(out == Array(reading), "a reading without a row is another") }
      out.withUnsafeBytes { out in
        var tape = JSONTape()
        require((try? tape.read(out)) != nil, "what comes out is no JSON: \(String(decoding: out, as: UTF8.self))")
      }
    }
  }
}
