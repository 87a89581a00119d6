import Pipeline
import Testing

let someContext = Selection.Context(
  key: .text(Array("dev-7".utf8)), time: 1_795_231_080_000_000_001, received: 1_795_231_081_000_000_000,
  topic: "plant/north/dev-7", captures: ["north", "dev-7"])

/// Runs `body` over a text that must be JSON.
func withTape<R>(_ text: some Sequence<UInt8>, _ body: (JSONTape, UnsafeRawBufferPointer) throws -> R) throws -> R {
  var tape = JSONTape()
  return try Array(text).withUnsafeBytes { bytes in
    try tape.read(bytes)
    return try body(tape, bytes)
  }
}

extension Selection {
  mutating func passes(_ json: String, _ context: Context = someContext) throws -> Bool? {
    try withTape(json.utf8) { try passes($0, 0, in: $1, context) }
  }

  mutating func select(_ json: String, _ context: Context = someContext) throws -> String {
    var output: [UInt8] = []
    try withTape(json.utf8) { try append($0, 0, in: $1, context, to: &output) }
    return try #require(String(validating: output, as: UTF8.self))
  }
}

/// The JSON that one expression gives for a reading.
func expressionValue(_ expression: String, _ json: String = "{}") throws -> String {
  var selection = try Selection(where: nil, select: ["\(expression) AS v"], captures: ["area", "device"])
  let object = try selection.select(json)
  return String(try #require(object.wholeMatch(of: #/\{"v":(.*)\}/#.dotMatchesNewlines())?.1))
}

/// The error of a selection that must not compile.
func expressionRefusal(
  where condition: String? = nil, select: [String] = [], limits: ExpressionLimits = .standard
) -> ExpressionError? {
  do throws(ExpressionError) {
    _ = try Selection(where: condition, select: select, captures: ["area"], limits: limits)
    return nil
  } catch { return error }
}
