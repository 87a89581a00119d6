internal import Telemetry

/// Reads the JSON of a contract file and notes everything that is wrong with it.
///
/// Every reading method gives nil after it has noted a fault, so that a person sees all of them at once.
struct ContractFileReader {
  /// A file that is wrong all over is not explained member by member.
  private static let maximumFaults = 20

  let bytes: UnsafeRawBufferPointer
  private(set) var tape = JSONTape()
  private(set) var faults: [ContractFileErrors.Fault] = []

  /// A value, and the JSON Pointer that leads to it.
  struct Place {
    var index: Int
    var pointer: String
  }

  /// - Parameter bytes: must stay valid as long as the reader is used.
  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// Nil after faults.
  mutating func read(digest: () -> Digest) -> ContractFile? {
    guard bytes.count <= ContractFile.limit else {
      fault(at: 0, "", "the file has \(bytes.count) bytes; a contract has at most \(ContractFile.limit)")
      return nil
    }
    do throws(JSONError) {
      try tape.read(bytes)
    } catch {
      fault(at: error.position, "", "this is not JSON: \(error.reason)")
      return nil
    }
    guard
      let members = members(
        of: Place(index: 0, pointer: ""), "a contract",
        known: [
          "name", "version", "owner", "description", "compatibility", "check_formats", "schema", "expectations",
        ], required: ["name", "version", "schema"])
    else { return nil }
    let name = members["name"].flatMap { self.name($0) }
    let version = members["version"].flatMap { self.version($0) }
    let owner = members["owner"].flatMap { self.text($0) }
    let description = members["description"].flatMap { self.text($0) }
    let compatibility = members["compatibility"].flatMap { choice($0, ContractFile.Compatibility.self) } ?? .backward
    let checksFormats = members["check_formats"].flatMap { flag($0) } ?? false
    let schema = members["schema"].flatMap { self.schema($0, checksFormats: checksFormats) }
    let expectations = members["expectations"].map { self.expectations($0) } ?? []
    guard faults.isEmpty, let name, let version, let schema else { return nil }
    return ContractFile(
      contract: Contract(
        name: name, version: version, schema: schema.compiled, expectations: expectations, digest: digest(),
        owner: owner, about: description),
      schema: schema.text, owner: owner, description: description, compatibility: compatibility)
  }

  // MARK: Faults

  mutating func fault(_ place: Place, _ reason: String, hint: String? = nil) {
    fault(at: tape.values[place.index].range.lowerBound, place.pointer, reason, hint: hint)
  }

  mutating func fault(at position: Int, _ pointer: String, _ reason: String, hint: String? = nil) {
    guard faults.count < ContractFileReader.maximumFaults else { return }
    var line = 1
    var column = 1
    for byte in bytes.prefix(position) {
      if byte == UInt8(ascii: "\n") {
        line += 1
        column = 1
      } else if byte & 0xC0 != 0x80 {
        column += 1
      }
    }
    faults.append(
      ContractFileErrors.Fault(line: line, column: column, pointer: pointer, reason: reason, hint: hint))
  }

  /// A text from the file as messages show it: in quotes, cut when long, without control characters.
  static func quoted(_ text: String) -> String {
    let scalars = text.unicodeScalars.prefix(40).map { scalar in
      scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) ? "?" : String(scalar)
    }
    return "'\(scalars.joined())\(text.unicodeScalars.count > 40 ? "..." : "")'"
  }

  // MARK: Objects and arrays

  /// The members of an object that may have these and no others; nil where it is none.
  mutating func members(
    of place: Place, _ what: String, known: [String], required: [String] = []
  ) -> [String: Place]? {
    let value = tape.values[place.index]
    guard value.kind == .object else {
      fault(place, "\(what) must be an object, not \(value.kind.phrase)")
      return nil
    }
    var found: [String: Place] = [:]
    var unknown: [(name: String, position: Int)] = []
    for child in children(of: place.index) {
      let name = self.name(of: child)
      let position = tape.values[child].name.lowerBound - 1
      if found[name] != nil {
        fault(at: position, "\(place.pointer)/\(ContractFileReader.escaped(name))", "the member is here a second time")
      } else if known.contains(name) {
        found[name] = Place(index: child, pointer: "\(place.pointer)/\(name)")
      } else {
        unknown.append((name, position))
      }
    }
    var missing = required.filter { found[$0] == nil }
    let free = known.filter { found[$0] == nil }
    for (name, position) in unknown.prefix(ContractFileReader.maximumFaults) {
      let nearest = Suggestion.nearest(to: name, among: free)
      // One that is there with a slip in it is one fault, not two.
      missing.removeAll { $0 == nearest }
      fault(
        at: position, place.pointer, "\(what) has no member \(ContractFileReader.quoted(name))",
        hint: nearest.map { "did you mean '\($0)'?" } ?? "there are: \(known.joined(separator: ", "))")
    }
    for name in missing { fault(place, "the member '\(name)' is missing") }
    return found
  }

  func children(of index: Int) -> [Int] {
    var children: [Int] = []
    var child = index + 1
    while child < tape.values[index].next {
      children.append(child)
      child = tape.values[child].next
    }
    return children
  }

  private func name(of child: Int) -> String {
    let value = tape.values[child]
    let raw = UnsafeRawBufferPointer(rebasing: bytes[value.name])
    return String(decoding: value.nameHasEscapes ? JSONText.unescape(raw) : Array(raw), as: UTF8.self)
  }

  private static func escaped(_ name: String) -> String {
    let shown = quoted(name).dropFirst().dropLast()
    return shown.split(separator: "~", omittingEmptySubsequences: false).joined(separator: "~0")
      .split(separator: "/", omittingEmptySubsequences: false).joined(separator: "~1")
  }

  // MARK: Values

  /// A string that is not empty and of at most 1,000 bytes, without control characters but line feeds.
  mutating func text(_ place: Place) -> String? {
    let value = tape.values[place.index]
    guard value.kind == .string else {
      fault(place, "must be a string, not \(value.kind.phrase)")
      return nil
    }
    let text = String(decoding: tape.text(value, in: bytes), as: UTF8.self)
    guard (1...1_000).contains(text.utf8.count),
      text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F || $0.value == 0x0A })
    else {
      fault(place, "must have 1 to 1000 bytes, and no control characters")
      return nil
    }
    return text
  }

  private mutating func name(_ place: Place) -> String? {
    guard let text = text(place) else { return nil }
    guard ContractID.isName(text) else {
      fault(place, "\(ContractFileReader.quoted(text)) is not a name, expected \(ContractID.nameRule)")
      return nil
    }
    return text
  }

  private mutating func version(_ place: Place) -> ContractVersion? {
    guard let text = text(place) else { return nil }
    guard let version = ContractVersion(exactly: text) else {
      fault(place, "\(ContractFileReader.quoted(text)) is not a version, expected three numbers such as 1.2.0")
      return nil
    }
    return version
  }

  mutating func choice<T: RawRepresentable & CaseIterable>(_ place: Place, _ type: T.Type) -> T?
  where T.RawValue == String {
    guard let text = text(place) else { return nil }
    if let value = T(rawValue: text) { return value }
    let words = type.allCases.map(\.rawValue)
    fault(
      place, "\(ContractFileReader.quoted(text)) is not known here, expected one of \(words.joined(separator: ", "))",
      hint: Suggestion.nearest(to: text, among: words).map { "did you mean '\($0)'?" })
    return nil
  }

  mutating func flag(_ place: Place) -> Bool? {
    let value = tape.values[place.index]
    guard value.kind == .boolean else {
      fault(place, "must be true or false, not \(value.kind.phrase)")
      return nil
    }
    return bytes[value.range.lowerBound] == UInt8(ascii: "t")
  }

  /// A number as it is written.
  mutating func number(_ place: Place) -> ExactNumber? {
    let value = tape.values[place.index]
    let text = String(decoding: UnsafeRawBufferPointer(rebasing: bytes[value.range]), as: UTF8.self)
    guard value.kind == .number, let number = ExactNumber(text) else {
      fault(place, "must be a number, not \(value.kind.phrase)")
      return nil
    }
    return number
  }

  /// A number from 0, in double precision.
  mutating func double(_ place: Place, atMost maximum: Double = .greatestFiniteMagnitude) -> Double? {
    guard let number = number(place) else { return nil }
    guard let double = Double(number.description), double.isFinite, double >= 0, double <= maximum else {
      fault(place, "must be a number from 0" + (maximum == .greatestFiniteMagnitude ? "" : " to \(Int(maximum))"))
      return nil
    }
    return double
  }

  mutating func integer(_ place: Place, in range: ClosedRange<Int>) -> Int? {
    guard let number = number(place) else { return nil }
    guard let integer = Int(number.description), range.contains(integer) else {
      fault(place, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
      return nil
    }
    return integer
  }

  /// Nanoseconds, more than 0.
  mutating func duration(_ place: Place) -> Int64? {
    let expected = #"a duration such as "250 ms", "30 s" or "1h30m""#
    guard tape.values[place.index].kind == .string else {
      fault(place, "must be \(expected), not \(tape.values[place.index].kind.phrase)")
      return nil
    }
    guard let text = text(place) else { return nil }
    do throws(Quantity.Fault) {
      let nanoseconds = try Quantity.duration(text)
      if nanoseconds > 0 { return nanoseconds }
      fault(place, "must be more than 0")
    } catch {
      let quoted = ContractFileReader.quoted(text)
      switch error {
      case .unknownUnit(let unit, let meant):
        fault(
          place, "unknown unit \(ContractFileReader.quoted(unit)), expected \(expected)",
          hint: meant.map { "did you mean '\($0)'?" })
      case .unitMissing: fault(place, "\(quoted) has no unit, expected \(expected)")
      case .tooLarge: fault(place, "\(quoted) is too long a time")
      case .fraction: fault(place, "\(quoted) is no whole number of nanoseconds")
      case .malformed, .negative: fault(place, "\(quoted) is not a duration, expected \(expected)")
      }
    }
    return nil
  }

  mutating func field(_ place: Place) -> FieldPath? {
    guard let text = text(place) else { return nil }
    do throws(FieldPath.Malformed) { return try FieldPath(parsing: text) } catch {
      fault(
        place, "the path \(ContractFileReader.quoted(text)) is not valid: \(error)",
        hint: #"for example object.temperature or rxInfo[0].rssi"#)
      return nil
    }
  }

  // MARK: The schema

  private mutating func schema(_ place: Place, checksFormats: Bool) -> (compiled: JSONSchema, text: [UInt8])? {
    let value = tape.values[place.index]
    guard value.kind == .object else {
      fault(place, "a schema must be an object, not \(value.kind.phrase)")
      return nil
    }
    let text = Array(bytes[value.range])
    do throws(SchemaError) {
      return (try JSONSchema(compiling: text, options: JSONSchema.Options(assertsFormat: checksFormats)), text)
    } catch {
      // A location behind a URI is in a meta-schema, not in the file.
      let isHere = error.location.isEmpty || error.location.hasPrefix("/")
      let index = isHere ? self.index(of: error.location, from: place.index) : place.index
      fault(
        at: tape.values[index].range.lowerBound, isHere ? place.pointer + error.location : place.pointer,
        isHere ? error.reason : error.description,
        hint: error.kind == .unresolved ? "a contract's schema stands in one file: move it to $defs" : nil)
      return nil
    }
  }

  /// The value that a JSON Pointer leads to, or the last one on the way there.
  private func index(of pointer: String, from start: Int) -> Int {
    var index = start
    for token in pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
      let name = token.split(separator: "~1", omittingEmptySubsequences: false).joined(separator: "/")
        .split(separator: "~0", omittingEmptySubsequences: false).joined(separator: "~")
      let next =
        tape.values[index].kind == .array
        ? Int(name).flatMap { tape.element($0, of: index) }
        : tape.member(Array(name.utf8), of: index, in: bytes)
      guard let next else { return index }
      index = next
    }
    return index
  }
}
