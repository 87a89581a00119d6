/// A pipeline's `where` and `select`: SQL expressions over the fields of a reading, compiled once.
///
/// **Fields.** A bare name (`temperature`) or a path in double quotes (`"object.temperature"`,
/// `"rxInfo[0].rssi"`, `"odd name"`; see ``FieldPath``). The bare names `key` (text), `time` and `received`
/// (nanoseconds since 1970), `topic`, and those of the topic filter's captures (text) are not fields of the
/// reading; in double quotes they are. A field that is not there is NULL.
///
/// **Values.** A JSON number without fraction and exponent that fits 64 bits is an INTEGER, exact beyond
/// 2^53. Every other number is a REAL, the nearest there is, as SQLite takes literals and its `json_extract`
/// does; not a TEXT, because a text compares greater than every number. Strings are TEXT, true and false 1
/// and 0, null is NULL, objects and arrays are TEXT: their JSON as it stands.
///
/// **Results** become JSON: INTEGER and REAL numbers (a REAL as the shortest text that reads back; infinite
/// ones null), TEXT strings, NULL null. A field that `select` names without computing is handed on byte for
/// byte, whatever it is, and left out where it is not there.
///
/// **Entries of `select`**: `field`, `expression AS name`, `*`, `* EXCEPT (a, b)`. A name beside `*` takes the
/// place of the reading's own member of that name. No name may stand twice.
///
/// A value, though it owns a connection to SQLite: all that touches the connection is `mutating`, and first
/// sees to it that no copy of this value shares it (``Engine``).
package struct Selection: Sendable {
  /// What an expression can see beside the fields.
  package struct Context: Sendable {
    package enum Key: Sendable {
      case none
      /// UTF-8.
      case text([UInt8])
      /// A range of the reading's bytes: the inside of a JSON string, escapes as they stand, or a number.
      case content(Range<Int>)
    }

    package var key: Key
    /// Event time and receipt, nanoseconds since 1970-01-01T00:00:00Z.
    package var time: Int64
    package var received: Int64
    package var topic: String
    /// The values of the captures, in the order of the names given to
    /// ``Selection/init(where:select:captures:limits:)``; nil (NULL) where the filter that matched has none.
    package var captures: [String?]

    package init(key: Key, time: Int64, received: Int64, topic: String, captures: [String?]) {
      self.key = key
      self.time = time
      self.received = received
      self.topic = topic
      self.captures = captures
    }
  }

  /// A reading on its tape.
  struct View {
    var tape: JSONTape
    var index: Int
    var bytes: UnsafeRawBufferPointer
    var context: Context
  }

  /// What one entry of `select` writes.
  private enum Output {
    case all(except: [[UInt8]])
    case field(FieldPath, prefix: [UInt8])
    /// A column of the statement.
    case column(Int32, prefix: [UInt8])
  }

  /// Whether there is a `where`.
  package let hasCondition: Bool
  /// Whether `select` is there and changes anything: not where it is empty or `*` alone.
  package let changesReadings: Bool
  private let outputs: [Output]
  private var engine: Engine?

  /// - Parameters:
  ///   - condition: `where`; nil passes every reading.
  ///   - select: the entries; empty hands readings on as they are.
  ///   - captures: names of the topic filter's captures.
  package init(
    where condition: String?, select: [String], captures: [String] = [], limits: ExpressionLimits = .standard
  ) throws(ExpressionError) {
    let parser = ExpressionParser(captures: captures)
    var parsedCondition: ParsedExpression?
    if let condition {
      do throws(ExpressionFault) { parsedCondition = try parser.condition(condition) } catch {
        throw error.error(in: condition, at: .condition)
      }
    }
    guard select.count <= limits.entries else {
      throw ExpressionError(
        kind: .tooLarge, place: .selected(limits.entries), position: nil,
        reason: "there are more than \(limits.entries) entries; use * or several pipelines")
    }
    var entries: [SelectEntry] = []
    for (index, source) in select.enumerated() {
      do throws(ExpressionFault) { entries.append(try parser.entry(source)) } catch {
        throw error.error(in: source, at: .selected(index))
      }
    }
    try Selection.checkNames(entries)

    let names = entries.compactMap { $0.name.map { Array($0.utf8) } }
    var computed: [Engine.Entry] = []
    var outputs: [Output] = []
    for (index, entry) in entries.enumerated() {
      switch entry {
      case .all(let except): outputs.append(.all(except: except + names))
      case .field(let path, let name): outputs.append(.field(path, prefix: Selection.prefix(name)))
      case .computed(let expression, let name):
        outputs.append(.column(Int32(clamping: computed.count), prefix: Selection.prefix(name)))
        computed.append(Engine.Entry(expression: expression, place: .selected(index)))
      }
    }
    self.outputs = outputs
    hasCondition = parsedCondition != nil
    changesReadings = !(entries.isEmpty || entries == [.all(except: [])])
    if parsedCondition != nil || !computed.isEmpty {
      engine = try Engine(condition: parsedCondition, computed: computed, limits: limits)
    }
  }

  private static func prefix(_ name: String) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(jsonString: Array(name.utf8))
    return bytes + [UInt8(ascii: ":")]
  }

  private static func checkNames(_ entries: [SelectEntry]) throws(ExpressionError) {
    var seen: [String: Int] = [:]
    var star: Int?
    for (index, entry) in entries.enumerated() {
      if case .all = entry {
        if let star {
          throw ExpressionError(
            kind: .star, place: .selected(index), position: nil, reason: "* already stands in select[\(star)]")
        }
        star = index
      }
      guard let name = entry.name else { continue }
      if let first = seen[name] {
        throw ExpressionError(
          kind: .name, place: .selected(index), position: nil,
          reason: "select[\(first)] already gives the name \(name); name one of them differently with AS")
      }
      seen[name] = index
    }
  }

  // MARK: Readings

  /// Whether `where` is true of a reading; nil where it is NULL, which is not true.
  /// - Parameters:
  ///   - tape: what ``JSONTape/read(_:)`` made of `bytes`.
  ///   - index: the reading's object on it.
  package mutating func passes(
    _ tape: JSONTape, _ index: Int, in bytes: UnsafeRawBufferPointer, _ context: Context
  ) throws(EvaluationError) -> Bool? {
    guard hasCondition, let engine = try ownEngine(.condition) else { return true }
    return try engine.passes(View(tape: tape, index: index, bytes: bytes, context: context))
  }

  /// Appends what `select` makes of a reading: one JSON object without whitespace. After an error nothing is
  /// appended.
  package mutating func append(
    _ tape: JSONTape, _ index: Int, in bytes: UnsafeRawBufferPointer, _ context: Context,
    to output: inout [UInt8]
  ) throws(EvaluationError) {
    guard changesReadings else {
      let object = UnsafeRawBufferPointer(rebasing: bytes[tape.values[index].range])
      return output.appendCompact(object, isCompact: !tape.hasWhitespace)
    }
    let start = output.count
    let engine = try ownEngine(.selected(0))
    defer { engine?.finish() }
    do throws(EvaluationError) {
      try engine?.compute(View(tape: tape, index: index, bytes: bytes, context: context))
      output.append(UInt8(ascii: "{"))
      var isFirst = true
      for entry in outputs {
        switch entry {
        case .all(let except):
          let before = output.count
          tape.appendMembers(of: index, in: bytes, except: except, isFirst: isFirst, to: &output)
          if output.count > before { isFirst = false }
          continue
        case .field(let path, let prefix):
          guard let found = tape.index(of: path, from: index, in: bytes) else { continue }
          if !isFirst { output.append(UInt8(ascii: ",")) }
          output.append(contentsOf: prefix)
          let value = UnsafeRawBufferPointer(rebasing: bytes[tape.values[found].range])
          output.appendCompact(value, isCompact: !tape.hasWhitespace)
        case .column(let column, let prefix):
          if !isFirst { output.append(UInt8(ascii: ",")) }
          output.append(contentsOf: prefix)
          try engine?.appendResult(column, to: &output)
        }
        isFirst = false
      }
      output.append(UInt8(ascii: "}"))
    } catch {
      output.removeLast(output.count - start)
      throw error
    }
  }

  /// The engine, after it is certain that no copy of this value uses it.
  private mutating func ownEngine(_ place: ExpressionPlace) throws(EvaluationError) -> Engine? {
    try Engine.own(&engine, for: place)
  }
}
