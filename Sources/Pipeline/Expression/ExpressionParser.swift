/// What a name in an expression stands for.
enum ExpressionOperand: Sendable, Hashable {
  case field(FieldPath)
  case key, time, received, topic
  /// The capture of the topic filter with this number.
  case capture(Int)
}

/// An expression whose fields have been found: its tokens in order, each either text or an operand.
///
/// Only this goes to SQLite: keywords, operators and functions from closed lists, literals, and numbered
/// parameters. Nothing of an expression is pasted in as it was written.
struct ParsedExpression: Sendable, Hashable {
  struct Piece: Sendable, Hashable {
    var text: String
    var operand: ExpressionOperand?
    /// UTF-8 bytes before it in the expression.
    var start: Int
  }

  var source: String
  var pieces: [Piece]
}

/// An entry of `select`.
enum SelectEntry: Sendable, Hashable {
  /// All members of the object but those.
  case all(except: [[UInt8]])
  /// A value that is handed on as it stands in the payload.
  case field(FieldPath, name: String)
  case computed(ParsedExpression, name: String)

  /// The name that it gives its value; nil for `*`.
  var name: String? {
    switch self {
    case .all: nil
    case .field(_, let name), .computed(_, let name): name
    }
  }
}

/// From tokens to a ``ParsedExpression``: finds the fields, refuses what expressions do not have.
struct ExpressionParser {
  /// Words that are handed to SQLite; every other is a field, a capture or a function.
  private static let keywords: Set<String> = [
    "AND", "OR", "NOT", "IS", "ISNULL", "NOTNULL", "NULL", "IN", "LIKE", "GLOB", "BETWEEN", "ESCAPE", "CASE", "WHEN",
    "THEN", "ELSE", "END", "CAST", "AS", "COLLATE", "DISTINCT", "FROM", "TRUE", "FALSE",
  ]
  private static let refusedWords: [String: String] = [
    "SELECT": "subqueries are not available",
    "EXISTS": "subqueries are not available",
    "REGEXP": "regular expressions are not available; use LIKE or GLOB",
    "MATCH": "MATCH is not available; use LIKE or GLOB",
    "OVER": "window functions are not available; use the pipeline's window",
    "RAISE": "RAISE is not available",
  ]
  private static let types: Set<String> = ["INTEGER", "INT", "REAL", "TEXT", "NUMERIC"]
  private static let collations: Set<String> = ["BINARY", "NOCASE", "RTRIM"]
  private static let builtIns: [String: ExpressionOperand] = [
    "key": .key, "time": .time, "received": .received, "topic": .topic,
  ]

  let captures: [String]

  // MARK: Entries

  func condition(_ source: String) throws(ExpressionFault) -> ParsedExpression {
    try expression(try tokens(of: source), in: source)
  }

  func entry(_ source: String) throws(ExpressionFault) -> SelectEntry {
    var tokens = try tokens(of: source)
    if tokens[0].isSymbol("*") { return .all(except: try exceptions(tokens)) }
    var name: String?
    if tokens.count > 2, tokens[tokens.count - 2].isWord("AS"),
      tokens[tokens.count - 1].kind == .word || tokens[tokens.count - 1].kind == .quoted
    {
      name = tokens[tokens.count - 1].text
      if name == "" { throw ExpressionFault(.name, at: tokens[tokens.count - 1].start, "the name is empty") }
      tokens.removeLast(2)
    }
    let parsed = try expression(tokens, in: source)
    if parsed.pieces.count == 1, case .field(let path)? = parsed.pieces[0].operand {
      if name == nil, case .member(let last)? = path.steps.last { name = String(decoding: last, as: UTF8.self) }
      if let name { return .field(path, name: name) }
    }
    // A built-in or a capture is its own name.
    if name == nil, parsed.pieces.count == 1, parsed.pieces[0].operand != nil, tokens[0].kind == .word {
      name = tokens[0].text
    }
    guard let name else {
      throw ExpressionFault(.name, at: nil, "the expression has no name; put AS and a name behind it")
    }
    return .computed(parsed, name: name)
  }

  private func tokens(of source: String) throws(ExpressionFault) -> [ExpressionToken] {
    let limit = ExpressionLimits.standard.sourceBytes
    guard source.utf8.count <= limit else {
      throw ExpressionFault(.tooLarge, at: nil, "the expression has more than \(limit) bytes; part it")
    }
    let tokens = try ExpressionScanner.tokens(of: source)
    if tokens.isEmpty { throw ExpressionFault(.empty, at: nil, "the expression is empty; leave it out instead") }
    return tokens
  }

  /// The names behind `* EXCEPT`.
  private func exceptions(_ tokens: [ExpressionToken]) throws(ExpressionFault) -> [[UInt8]] {
    if tokens.count == 1 { return [] }
    func wrong(_ token: ExpressionToken?) -> ExpressionFault {
      ExpressionFault(.star, at: token?.start, "behind * may only stand EXCEPT (name, name), with at least one name")
    }
    guard tokens[1].isWord("EXCEPT") else { throw wrong(tokens[1]) }
    guard tokens.count >= 5, tokens[2].isSymbol("("), tokens[tokens.count - 1].isSymbol(")"), tokens.count % 2 == 1
    else { throw wrong(tokens.last) }
    var names: [[UInt8]] = []
    for (position, token) in tokens[3..<tokens.count - 1].enumerated() {
      if position % 2 == 1 {
        guard token.isSymbol(",") else { throw wrong(token) }
      } else if token.kind == .word {
        names.append(Array(token.text.utf8))
      } else if token.kind == .quoted {
        let steps = try path(token).steps
        guard steps.count == 1, case .member(let name) = steps[0] else {
          throw ExpressionFault(
            .star, at: token.start, "EXCEPT takes names of the reading's own fields; drop nested ones with mask")
        }
        names.append(name)
      } else {
        throw wrong(token)
      }
    }
    return names
  }

  // MARK: Expressions

  /// A parenthesis that is open.
  private struct Opened {
    var start: Int
    /// In lower case; empty where none stands before it.
    var function: String
    var commas = 0
  }

  private func expression(
    _ tokens: [ExpressionToken], in source: String
  ) throws(ExpressionFault) -> ParsedExpression {
    var parsed = ParsedExpression(source: source, pieces: [])
    var opened: [Opened] = []
    for (index, token) in tokens.enumerated() {
      let before = index > 0 ? tokens[index - 1] : nil
      let after = index + 1 < tokens.count ? tokens[index + 1] : nil
      var text = token.text
      var operand: ExpressionOperand?
      switch token.kind {
      case .number, .text: break
      case .quoted: operand = .field(try path(token))
      case .word:
        operand = try self.operand(token, before, after, in: opened.last)
        text = text.uppercased()
      case .symbol:
        if text == "(" {
          let name = before?.kind == .word ? before?.text.lowercased() ?? "" : ""
          opened.append(Opened(start: token.start, function: name))
        } else if text == ")" {
          guard let closed = opened.popLast() else {
            throw ExpressionFault(.parenthesis, at: token.start, "this parenthesis closes none")
          }
          if closed.commas == 0, closed.function == "max" || closed.function == "min" {
            throw ExpressionFault(
              .arguments, at: closed.start,
              "\(closed.function)() of one value needs a window; here it takes two or more")
          }
        } else if text == "," {
          guard let last = opened.last else {
            throw ExpressionFault(
              .syntax, at: token.start, "a comma stands outside of parentheses; one expression only")
          }
          opened[opened.count - 1].commas += 1
          try checkTrim(last, after, index + 2 < tokens.count ? tokens[index + 2] : nil)
        }
      }
      parsed.pieces.append(ParsedExpression.Piece(text: text, operand: operand, start: token.start))
    }
    if let last = opened.last {
      throw ExpressionFault(.parenthesis, at: last.start, "this parenthesis is not closed")
    }
    if parsed.pieces.isEmpty { throw ExpressionFault(.empty, at: 0, "there is nothing before AS") }
    return parsed
  }

  /// SQLite compares every character of the text with every one of the set: with a set from the payload a
  /// message of 128 kB would hold the pipeline for many seconds, and nothing could stop it.
  private func checkTrim(
    _ opened: Opened, _ set: ExpressionToken?, _ close: ExpressionToken?
  ) throws(ExpressionFault) {
    guard ["trim", "ltrim", "rtrim"].contains(opened.function) else { return }
    let limit = ExpressionLimits.standard.trimmedBytes
    guard let set, set.kind == .text, set.text.utf8.count <= limit + 2, close?.isSymbol(")") == true else {
      throw ExpressionFault(
        .arguments, at: set?.start ?? opened.start,
        "the second argument of \(opened.function)() must be a text of at most \(limit) bytes in single "
          + "quotes, as in trim(name, '-')")
    }
  }

  /// What a word stands for; nil where it is handed to SQLite: a keyword, or a function's name.
  private func operand(
    _ token: ExpressionToken, _ before: ExpressionToken?, _ after: ExpressionToken?, in opened: Opened?
  ) throws(ExpressionFault) -> ExpressionOperand? {
    let word = token.text.uppercased()
    if let reason = Self.refusedWords[word] {
      throw ExpressionFault(
        .notAvailable, at: token.start, "\(reason); a field of this name stands in double quotes")
    }
    if before?.isWord("COLLATE") == true {
      guard Self.collations.contains(word) else {
        throw ExpressionFault(.notAvailable, at: token.start, "the collations are BINARY, NOCASE and RTRIM")
      }
      return nil
    }
    if before?.isWord("AS") == true, opened?.function == "cast" {
      guard Self.types.contains(word) else {
        throw ExpressionFault(
          .notAvailable, at: token.start, "the types to cast to are INTEGER, REAL, NUMERIC and TEXT")
      }
      return nil
    }
    if Self.keywords.contains(word) {
      if word == "AS", opened?.function != "cast" {
        throw ExpressionFault(.syntax, at: token.start, "AS and a name may only stand at the end of an entry of select")
      }
      return nil
    }
    let name = token.text.lowercased()
    let isClock = ["current_date", "current_time", "current_timestamp"].contains(name)
    if isClock, let reason = ExpressionFunctions.objection(to: name) {
      throw ExpressionFault(.function, at: token.start, reason + "; a field of that name stands in double quotes")
    }
    if after?.isSymbol("(") == true {
      if let reason = ExpressionFunctions.objection(to: name) {
        throw ExpressionFault(.function, at: token.start, reason)
      }
      return nil
    }
    if let builtIn = Self.builtIns[token.text] { return builtIn }
    if let capture = captures.firstIndex(of: token.text) { return .capture(capture) }
    return .field(try path(token))
  }

  private func path(_ token: ExpressionToken) throws(ExpressionFault) -> FieldPath {
    do throws(FieldPath.Malformed) { return try FieldPath(parsing: token.text) } catch {
      throw ExpressionFault(
        .field, at: token.start, "what stands in double quotes must be the path of a field: \(error.reason)")
    }
  }
}
