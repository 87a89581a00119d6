/// What windows aggregate of a reading: the arguments of `window.emit`, each looked up or worked out once.
///
/// Numbers are numbers, true and false 1 and 0; anything else is nothing to compute with. What is only counted
/// (`count`, `distinct`) may be of any type but null. A value with a connection of its own, as ``Selection`` is.
struct WindowInputs: Sendable {
  private enum Source: Sendable {
    case field(FieldPath)
    /// A column of the statement.
    case column(Int32)
  }

  private struct Input: Sendable {
    var source: Source
    /// Only told apart from other values, or from nothing.
    var isCounted: Bool
  }

  /// What is to be computed of which input.
  let aggregates: [WindowSettings.Aggregate]
  private var inputs: [Input] = []
  private var engine: Engine?

  /// How many inputs every reading brings.
  var count: Int { inputs.count }

  /// - Parameter captures: names of the topic filter's captures.
  init(
    _ emitted: [WindowingSettings.Emitted], captures: [String], limits: ExpressionLimits = .standard
  ) throws(ExpressionError) {
    let parser = ExpressionParser(captures: captures)
    var computed: [Engine.Entry] = []
    var known: [String: Int] = [:]
    var aggregates: [WindowSettings.Aggregate] = []
    for (index, entry) in emitted.enumerated() {
      guard let argument = entry.argument else {
        aggregates.append(WindowSettings.Aggregate(entry.function, input: nil))
        continue
      }
      let isCounted = entry.function == .count || entry.function == .distinct
      let name = (isCounted ? "counted " : "") + argument
      if known[name] == nil {
        let parsed: ParsedExpression
        do throws(ExpressionFault) { parsed = try parser.condition(argument) } catch {
          throw error.error(in: argument, at: .emitted(index))
        }
        known[name] = inputs.count
        if parsed.pieces.count == 1, case .field(let path)? = parsed.pieces[0].operand {
          inputs.append(Input(source: .field(path), isCounted: isCounted))
        } else {
          inputs.append(Input(source: .column(Int32(clamping: computed.count)), isCounted: isCounted))
          computed.append(Engine.Entry(expression: parsed, place: .emitted(index)))
        }
      }
      aggregates.append(WindowSettings.Aggregate(entry.function, input: known[name]))
    }
    self.aggregates = aggregates
    if !computed.isEmpty { engine = try Engine(condition: nil, computed: computed, limits: limits) }
  }

  /// Puts what a reading brings into `values`, in the order of the inputs.
  mutating func read(
    _ tape: JSONTape, _ index: Int, in bytes: UnsafeRawBufferPointer, _ context: Selection.Context,
    into values: inout [WindowInput]
  ) throws(EvaluationError) {
    values.removeAll(keepingCapacity: true)
    let engine = try Engine.own(&engine, for: .emitted(0))
    defer { engine?.finish() }
    try engine?.compute(Selection.View(tape: tape, index: index, bytes: bytes, context: context))
    for input in inputs {
      switch input.source {
      case .field(let path):
        guard let found = tape.index(of: path, from: index, in: bytes) else {
          values.append(.missing)
          continue
        }
        values.append(WindowInputs.value(of: tape.values[found], tape, bytes, isCounted: input.isCounted))
      case .column(let column):
        values.append(WindowInputs.value(of: engine?.result(column) ?? .null, isCounted: input.isCounted))
      }
    }
  }

  private static func value(
    of value: JSONTape.Value, _ tape: JSONTape, _ bytes: UnsafeRawBufferPointer, isCounted: Bool
  ) -> WindowInput {
    let content = UnsafeRawBufferPointer(rebasing: bytes[value.content])
    switch value.kind {
    case .null: return .missing
    case .number:
      return switch FieldNumber(content) {
      case .integer(let integer): number(integer, isCounted: isCounted)
      case .real(let real): .number(real)
      }
    case .boolean: return .number(content.first == UInt8(ascii: "t") ? 1 : 0)
    case .string, .object, .array:
      guard isCounted else { return .missing }
      return tape.text(value, in: bytes).withUnsafeBytes(WindowInput.distinct)
    }
  }

  private static func value(of result: ExpressionStatement.Result, isCounted: Bool) -> WindowInput {
    switch result {
    case .null: .missing
    case .integer(let integer): number(integer, isCounted: isCounted)
    case .real(let real): .number(real)
    case .text(let text): isCounted ? .distinct(text) : .missing
    case .blob: .missing
    }
  }

  /// Integers that a double would round are told apart by their bytes.
  private static func number(_ integer: Int64, isCounted: Bool) -> WindowInput {
    guard isCounted, integer.magnitude > 1 << 53 else { return .number(Double(integer)) }
    return withUnsafeBytes(of: integer.littleEndian, WindowInput.distinct)
  }
}
