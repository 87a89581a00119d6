/// A selection's compiled statements and the connection that they belong to.
///
/// SQLite's objects may be used by one thread at a time. `@unchecked Sendable` holds because only one
/// ``Selection`` ever uses an engine - it makes itself another (``copy()``) where it may share it with a copy
/// of itself - and only in `mutating` functions, which Swift gives to one thread at a time.
final class Engine: @unchecked Sendable {
  /// A computed entry of `select`.
  struct Entry {
    var expression: ParsedExpression
    var place: ExpressionPlace
  }

  /// A statement, and what its parameters stand for, in their order.
  private struct Compiled {
    var statement: ExpressionStatement
    var operands: [ExpressionOperand]
  }

  private let condition: ParsedExpression?
  private let computed: [Entry]
  private let limits: ExpressionLimits
  private var test: Compiled?
  /// All computed entries as one statement: a step costs more than most expressions.
  private var row: Compiled?
  private let connection: ExpressionConnection

  init(condition: ParsedExpression?, computed: [Entry], limits: ExpressionLimits) throws(ExpressionError) {
    self.condition = condition
    self.computed = computed
    self.limits = limits
    let first = condition == nil ? computed.first?.place ?? .condition : .condition
    do throws(ExpressionConnection.Refused) { connection = try ExpressionConnection(limits: limits) } catch {
      throw ExpressionError(
        kind: .unavailable, place: first, position: nil, reason: "SQLite cannot be opened: \(error.message)")
    }
    if let condition {
      // The two NOTs leave true as 1, false as 0 and NULL as it is, whatever the type.
      test = try compile([Entry(expression: condition, place: .condition)], wrapping: "NOT NOT ")
    }
    // Each for itself first, so that a fault has its place.
    for entry in computed { _ = try compile([entry]) }
    if !computed.isEmpty { row = try compile(computed) }
  }

  /// Another with a connection of its own.
  func copy() throws(ExpressionError) -> Engine {
    try Engine(condition: condition, computed: computed, limits: limits)
  }

  /// The engine in `reference`, after it is certain that no copy of the value that holds it uses it.
  static func own(_ reference: inout Engine?, for place: ExpressionPlace) throws(EvaluationError) -> Engine? {
    if reference == nil || isKnownUniquelyReferenced(&reference) { return reference }
    do throws(ExpressionError) { reference = try reference?.copy() } catch {
      // What was compiled once fails to compile again only for want of memory.
      throw EvaluationError(kind: .memory, place: place)
    }
    return reference
  }

  // MARK: Compiling

  private func compile(_ entries: [Entry], wrapping: String = "") throws(ExpressionError) -> Compiled {
    var sql = "SELECT "
    var operands: [ExpressionOperand] = []
    var numbers: [ExpressionOperand: Int] = [:]
    /// Where in the statement each piece begins.
    var places: [Int] = []
    for (index, entry) in entries.enumerated() {
      sql += index == 0 ? "\(wrapping)(" : "),\(wrapping)("
      for piece in entry.expression.pieces {
        sql += " "
        places.append(sql.utf8.count)
        guard let operand = piece.operand else {
          sql += piece.text
          continue
        }
        let number = numbers[operand] ?? operands.count + 1
        if number > operands.count { operands.append(operand) }
        numbers[operand] = number
        sql += "?\(number)"
      }
    }
    sql += ")"
    do throws(ExpressionConnection.Refused) {
      let statement = try connection.prepare(sql)
      return Compiled(statement: statement, operands: operands)
    } catch {
      throw refusal(error, of: entries, places)
    }
  }

  private func refusal(
    _ refused: ExpressionConnection.Refused, of entries: [Entry], _ places: [Int]
  ) -> ExpressionError {
    let entry = entries[0]
    guard !refused.isTooLarge, entries.count == 1 else {
      let reason =
        entries.count == 1
        ? "the expression is too long or too deep for SQLite: \(refused.message)"
        : "all entries together are too much for one statement: \(refused.message)"
      return ExpressionError(kind: .tooLarge, place: entry.place, position: nil, reason: reason)
    }
    let source = entry.expression.source
    guard let offset = refused.offset, offset >= places[0] else {
      return ExpressionFault(.syntax, at: nil, "SQLite refuses it: \(refused.message)").error(
        in: source, at: entry.place)
    }
    guard let index = places.lastIndex(where: { $0 <= offset }),
      index + 1 < places.count || offset == places[index]
    else {
      return ExpressionFault(.syntax, at: source.utf8.count, "the expression ends too early").error(
        in: source, at: entry.place)
    }
    let piece = entry.expression.pieces[index]
    let reason =
      piece.operand == nil
      ? "SQLite refuses it at \(piece.text): \(refused.message)"
      : "SQLite refuses it at the field \(piece.text), ?N in its words: \(refused.message)"
    return ExpressionFault(.syntax, at: piece.start, reason).error(in: source, at: entry.place)
  }

  // MARK: Evaluating

  /// Whether the condition is true; nil where it is NULL.
  func passes(_ reading: Selection.View) throws(EvaluationError) -> Bool? {
    guard let test else { return true }
    defer { test.statement.reset() }
    if let kind = evaluate(test, reading) { throw EvaluationError(kind: kind, place: .condition) }
    if case .integer(let value) = test.statement.result(0) { return value != 0 }
    return nil
  }

  /// Computes the entries' values. ``finish()`` must follow, after the results are read and before the
  /// reading's bytes go.
  func compute(_ reading: Selection.View) throws(EvaluationError) {
    guard let row, let kind = evaluate(row, reading) else { return }
    row.statement.reset()
    throw EvaluationError(kind: kind, place: culprit(kind, reading))
  }

  func finish() { row?.statement.reset() }

  /// The value of a computed entry. A text's bytes are valid until ``finish()``.
  func result(_ column: Int32) -> ExpressionStatement.Result { row?.statement.result(column) ?? .null }

  /// Which entry an evaluation failed for: they are tried one by one. The first where all succeed alone.
  private func culprit(_ kind: EvaluationError.Kind, _ reading: Selection.View) -> ExpressionPlace {
    for entry in computed where computed.count > 1 {
      guard let single = try? compile([entry]) else { continue }
      defer { single.statement.reset() }
      if evaluate(single, reading) == kind { return entry.place }
    }
    return computed[0].place
  }

  func appendResult(_ column: Int32, to output: inout [UInt8]) throws(EvaluationError) {
    guard let row else { return }
    switch row.statement.result(column) {
    case .null: output.append(contentsOf: "null".utf8)
    case .integer(let value): output.appendJSON(value)
    case .real(let value): output.appendJSON(value)
    case .text(let text):
      guard text.allSatisfy({ $0 < 0x80 }) || String(validating: text, as: UTF8.self) != nil else {
        throw EvaluationError(kind: .invalidUTF8, place: computed[Int(column)].place)
      }
      output.append(jsonString: text)
    case .blob: throw EvaluationError(kind: .blob, place: computed[Int(column)].place)
    }
  }

  private func evaluate(_ compiled: Compiled, _ reading: Selection.View) -> EvaluationError.Kind? {
    var place: Int32 = 0
    for operand in compiled.operands {
      place += 1
      if !bind(operand, to: place, of: compiled.statement, reading) { return .tooLong }
    }
    return compiled.statement.evaluate()
  }

  private func bind(
    _ operand: ExpressionOperand, to place: Int32, of statement: ExpressionStatement,
    _ reading: Selection.View
  ) -> Bool {
    switch operand {
    case .field(let path):
      guard let index = reading.tape.index(of: path, from: reading.index, in: reading.bytes) else {
        return statement.bindNull(to: place)
      }
      let value = reading.tape.values[index]
      let content = UnsafeRawBufferPointer(rebasing: reading.bytes[value.content])
      switch value.kind {
      case .number:
        switch FieldNumber(content) {
        case .integer(let integer): return statement.bind(integer, to: place)
        case .real(let real): return statement.bind(real, to: place)
        }
      case .string: return bind(content, hasEscapes: value.hasEscapes, to: place, of: statement)
      case .boolean: return statement.bind(Int64(content.first == UInt8(ascii: "t") ? 1 : 0), to: place)
      case .null: return statement.bindNull(to: place)
      case .object, .array: return statement.bind(borrowing: content, to: place)
      }
    case .key:
      switch reading.context.key {
      case .none: return statement.bindNull(to: place)
      case .text(let text): return text.withUnsafeBytes { statement.bind(copying: $0, to: place) }
      case .content(let range):
        let content = UnsafeRawBufferPointer(rebasing: reading.bytes[range])
        let hasEscapes = content.contains(UInt8(ascii: "\\"))
        return bind(content, hasEscapes: hasEscapes, to: place, of: statement)
      }
    case .time: return statement.bind(reading.context.time, to: place)
    case .received: return statement.bind(reading.context.received, to: place)
    case .topic: return bind(reading.context.topic, to: place, of: statement)
    case .capture(let number):
      guard reading.context.captures.indices.contains(number), let value = reading.context.captures[number]
      else { return statement.bindNull(to: place) }
      return bind(value, to: place, of: statement)
    }
  }

  private func bind(
    _ content: UnsafeRawBufferPointer, hasEscapes: Bool, to place: Int32, of statement: ExpressionStatement
  ) -> Bool {
    guard hasEscapes else { return statement.bind(borrowing: content, to: place) }
    return JSONText.unescape(content).withUnsafeBytes { statement.bind(copying: $0, to: place) }
  }

  private func bind(_ text: String, to place: Int32, of statement: ExpressionStatement) -> Bool {
    var text = text
    return text.withUTF8 { statement.bind(copying: UnsafeRawBufferPointer($0), to: place) }
  }
}
