/// Why an entry of a window's `emit` is refused: the cause, a way out, and where in the entry it is.
package struct AggregateError: Error, Sendable, Hashable, CustomStringConvertible {
  package var reason: String
  /// The function that the entry calls, where there is none of this name.
  package var unknown: String?
  /// Characters (Unicode scalars) of the entry before the fault; nil where no place in it is at fault.
  package var position: Int?

  /// For people; characters are counted from 1.
  package var description: String { reason + (position.map { " (character \($0 + 1))" } ?? "") }
}

/// Reads an entry of `emit`: one aggregate over an SQL expression, as in `avg(temperature)`.
///
/// Names are those of SQL (`avg`, `sum`, `min`, `max`, `count`, `stddev_samp`, `first_value`, `last_value`) and,
/// where SQL has none, those in use with time series: `first` and `last` as in TimescaleDB, `mean`, `median` and
/// `distinct` as in InfluxDB, `rate` as in Prometheus, `time_weighted_avg`. Case does not matter.
package struct AggregateParser {
  /// What an entry says.
  package struct Call: Sendable, Hashable {
    package var function: WindowSettings.Function
    /// An SQL expression; nil for a count of readings.
    package var argument: String?

    package init(_ function: WindowSettings.Function, _ argument: String?) {
      self.function = function
      self.argument = argument
    }
  }

  /// What entries may call: how it is written, for people and suggestions, and what it computes. A percentile's share
  /// is its second argument.
  private static let functions: [(name: String, function: WindowSettings.Function)] = [
    ("avg", .average), ("sum", .sum), ("min", .minimum), ("max", .maximum), ("count", .count), ("first", .first),
    ("last", .last), ("stddev", .standardDeviation), ("percentile", .percentile(0)), ("median", .percentile(0.5)),
    ("rate", .rate), ("time_weighted_avg", .timeWeightedAverage), ("distinct", .distinct), ("mean", .average),
    ("first_value", .first), ("last_value", .last), ("stddev_samp", .standardDeviation),
  ]

  /// The names of the functions.
  package static var names: [String] { functions.map(\.name) }

  private let expressions: ExpressionParser

  /// - Parameter captures: names of the topic filter's captures, which arguments can use.
  package init(captures: [String]) { expressions = ExpressionParser(captures: captures) }

  package func parse(_ source: String) throws(AggregateError) -> Call {
    do throws(ExpressionFault) {
      return try call(source)
    } catch {
      // Shares the way from bytes to characters.
      let told = error.error(in: source, at: .condition)
      let unknown = error.kind == .function ? AggregateParser.calledName(in: source, at: error.offset) : nil
      throw AggregateError(reason: told.reason, unknown: unknown, position: told.position)
    }
  }

  /// The word at a place, if the entry begins with it: an argument's functions are not those of aggregates.
  private static func calledName(in source: String, at offset: Int?) -> String? {
    guard let tokens = try? ExpressionScanner.tokens(of: source), let first = tokens.first, first.kind == .word,
      first.start == offset
    else { return nil }
    return first.text
  }

  private func call(_ source: String) throws(ExpressionFault) -> Call {
    let limit = ExpressionLimits.standard.sourceBytes
    guard source.utf8.count <= limit else {
      throw ExpressionFault(.tooLarge, at: nil, "the expression has more than \(limit) bytes; part it")
    }
    let tokens = try ExpressionScanner.tokens(of: source)
    guard let name = tokens.first else {
      throw ExpressionFault(.empty, at: nil, "the entry is empty; write an aggregate, as in avg(temperature)")
    }
    guard name.kind == .word, tokens.count > 1, tokens[1].isSymbol("(") else { throw noAggregate(tokens) }
    let lowered = name.text.lowercased()
    guard let function = Self.functions.first(where: { $0.name == lowered })?.function else {
      if ExpressionFunctions.allowed.contains(lowered) { throw noAggregate(tokens) }
      throw ExpressionFault(
        .function, at: name.start, "there is no aggregate \(name.text)(); there are \(Self.documented)")
    }
    let arguments = try arguments(of: lowered, tokens)
    for token in tokens.dropFirst(2) { try refuseNested(token, tokens) }
    return try call(function, named: lowered, tokens, arguments, in: source)
  }

  /// The aliases left out.
  private static var documented: String { functions.prefix(13).map(\.name).joined(separator: ", ") }

  /// A field or an expression without an aggregate.
  private func noAggregate(_ tokens: [ExpressionToken]) -> ExpressionFault {
    let isArithmetic = tokens.contains { token in
      token.kind == .word && Self.functions.contains { $0.name == token.text.lowercased() }
    }
    if isArithmetic {
      return ExpressionFault(
        .arguments, at: tokens[0].start,
        "an entry is one aggregate, not a computation with aggregates; emit each under a name of its own")
    }
    let field = tokens.count == 1 && (tokens[0].kind == .word || tokens[0].kind == .quoted)
    let shown = tokens[0].kind == .quoted ? "\"\(tokens[0].text)\"" : tokens[0].text
    return ExpressionFault(
      .arguments, at: tokens[0].start,
      field
        ? "a window has many values of \(shown); say which is wanted, as in avg(\(shown)) or last(\(shown))"
        : "a window has many values of this; say which is wanted, as in avg(…) or last(…)")
  }

  /// The tokens of each argument, as ranges of `tokens`.
  private func arguments(
    of name: String, _ tokens: [ExpressionToken]
  ) throws(ExpressionFault) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var depth = 0
    var start = 2
    for (index, token) in tokens.enumerated().dropFirst() {
      if token.isSymbol("(") {
        depth += 1
      } else if token.isSymbol(")") {
        depth -= 1
        guard depth == 0 else { continue }
        if index > 2 { ranges.append(start..<index) }
        if index + 1 < tokens.count { throw trailing(tokens[index + 1]) }
        return ranges
      } else if depth == 1, token.isSymbol(",") {
        ranges.append(start..<index)
        start = index + 1
      }
    }
    throw ExpressionFault(.parenthesis, at: tokens[1].start, "this parenthesis is not closed")
  }

  private func trailing(_ token: ExpressionToken) -> ExpressionFault {
    if token.isWord("AS") {
      return ExpressionFault(.name, at: token.start, "the name stands before the colon; leave AS and the name out")
    }
    if token.isWord("OVER") || token.isWord("FILTER") {
      return ExpressionFault(
        .notAvailable, at: token.start,
        "\(token.text) is not available; take CASE WHEN condition THEN field END as the argument")
    }
    return ExpressionFault(
      .arguments, at: token.start,
      "an entry is one aggregate, not a computation with aggregates; emit each under a name of its own")
  }

  /// Aggregates stand in no argument. `min` and `max` also take the least and the greatest of several values.
  private func refuseNested(_ token: ExpressionToken, _ tokens: [ExpressionToken]) throws(ExpressionFault) {
    let name = token.text.lowercased()
    guard token.kind == .word, !["min", "max", "distinct"].contains(name),
      Self.functions.contains(where: { $0.name == name }),
      let index = tokens.firstIndex(of: token), index + 1 < tokens.count, tokens[index + 1].isSymbol("(")
    else { return }
    throw ExpressionFault(
      .arguments, at: token.start, "\(name)() stands within another aggregate; emit it under a name of its own")
  }

  private func call(
    _ function: WindowSettings.Function, named name: String, _ tokens: [ExpressionToken], _ arguments: [Range<Int>],
    in source: String
  ) throws(ExpressionFault) -> Call {
    guard var value = arguments.first, !value.isEmpty else {
      throw ExpressionFault(
        .arguments, at: tokens[1].start,
        name == "count"
          ? "write count(*) to count readings, count(field) to count values"
          : "\(name)() of nothing; name a field, as in \(name)(temperature)")
    }
    var function = function
    if name == "percentile" {
      function = .percentile(try share(tokens, arguments))
    } else if arguments.count > 1 {
      throw ExpressionFault(
        .arguments, at: tokens[arguments[1].lowerBound - 1].start,
        name == "min" || name == "max"
          ? "the aggregate \(name)() takes one value; \(name)(\(name)(a, b)) aggregates that of several fields"
          : "\(name)() takes one value")
    }
    if tokens[value.lowerBound].isSymbol("*") {
      guard name == "count", value.count == 1 else {
        throw ExpressionFault(
          .star, at: tokens[value.lowerBound].start,
          "* stands for readings, and only count(*) takes those; name a field")
      }
      return Call(.count, nil)
    }
    if tokens[value.lowerBound].isWord("DISTINCT") {
      guard name == "count" else {
        throw ExpressionFault(
          .notAvailable, at: tokens[value.lowerBound].start,
          "DISTINCT is available in count(DISTINCT field) only")
      }
      function = .distinct
      value = value.dropFirst()
      guard !value.isEmpty else {
        throw ExpressionFault(.arguments, at: tokens[value.lowerBound].start, "a field is missing behind DISTINCT")
      }
    }
    return Call(function, try argument(tokens, value, in: source))
  }

  /// The second argument of `percentile`.
  private func share(_ tokens: [ExpressionToken], _ arguments: [Range<Int>]) throws(ExpressionFault) -> Double {
    guard arguments.count == 2 else {
      throw ExpressionFault(
        .arguments, at: tokens[1].start, "percentile() takes a value and a share, as in percentile(latency, 0.95)")
    }
    let range = arguments[1]
    guard range.count == 1, tokens[range.lowerBound].kind == .number, let share = Double(tokens[range.lowerBound].text)
    else {
      throw ExpressionFault(
        .number, at: tokens[range.lowerBound - 1].start + 1,
        "the share of a percentile is a number from 0 to 1, as in percentile(latency, 0.95)")
    }
    guard share >= 0, share <= 1 else {
      throw ExpressionFault(
        .number, at: tokens[range.lowerBound].start,
        "the share of a percentile is a number from 0 to 1; write 0.95 for the 95th")
    }
    return share
  }

  /// The text of an argument, after it has been seen that it compiles.
  private func argument(
    _ tokens: [ExpressionToken], _ range: Range<Int>, in source: String
  ) throws(ExpressionFault) -> String {
    let start = tokens[range.lowerBound].start
    let end = tokens[range.upperBound].start
    var bytes = Array(source.utf8)[start..<end]
    while let last = bytes.last, [0x20, 0x09, 0x0A, 0x0D].contains(last) { bytes.removeLast() }
    let text = String(decoding: bytes, as: UTF8.self)
    do throws(ExpressionFault) { _ = try expressions.condition(text) } catch {
      throw ExpressionFault(error.kind, at: error.offset.map { $0 + start }, error.reason)
    }
    do throws(ExpressionError) {
      _ = try Selection(where: text, select: [], captures: expressions.captures)
    } catch {
      // The place is given in characters there; an argument in other than ASCII is told by its beginning.
      let offset = error.position.flatMap { text.utf8.allSatisfy { $0 < 0x80 } ? $0 : nil }
      throw ExpressionFault(error.kind, at: start + (offset ?? 0), error.reason)
    }
    return text
  }
}
