import Pipeline
import Testing

@Suite("Expressions: what is refused")
struct ExpressionCompilingTests {
  static let refused: [(expression: String, kind: ExpressionError.Kind, position: Int?)] = [
    ("", .empty, nil),
    (" \n-- nothing\n/* at all */", .empty, nil),
    ("a = 'x", .unterminated, 4),
    ("a = \"x", .unterminated, 4),
    ("a /* b", .unterminated, 2),
    ("a = 1; DROP TABLE t", .character, 5),
    ("a = ?1", .character, 4),
    ("a = :b", .character, 4),
    ("a = @b", .character, 4),
    ("a = $b", .character, 4),
    ("object.temperature > 1", .character, 6),
    ("rxInfo[0] > 1", .character, 6),
    ("`a` = 1", .character, 0),
    ("[a] = 1", .character, 0),
    ("a # b", .character, 2),
    ("a = \u{0}", .character, 4),
    ("a = 'x\u{0}y'", .character, 6),
    ("a = 1x", .number, 4),
    ("a = 1e", .number, 4),
    ("a<30AND b=7", .number, 2),
    ("a = 0x", .number, 4),
    ("1temperature > 3", .number, 0),
    ("a = x'00'", .notAvailable, 4),
    ("CAST(a AS BLOB) = 1", .notAvailable, 10),
    ("(a = 1", .parenthesis, 0),
    ("a = 1)", .parenthesis, 5),
    ("a) OR (b", .parenthesis, 1),
    ("a, b", .syntax, 1),
    ("(a, b)", .syntax, nil),
    ("a AS b", .syntax, 2),
    ("a = (SELECT 1)", .notAvailable, 5),
    ("EXISTS (a)", .notAvailable, 0),
    ("a REGEXP 'x'", .notAvailable, 2),
    ("a MATCH 'x'", .notAvailable, 2),
    ("max(a, b) OVER ()", .notAvailable, 10),
    ("a COLLATE x", .notAvailable, 10),
    ("a IN b", .syntax, 5),
    ("a +", .syntax, 3),
    ("a b", .syntax, 2),
    ("ä b", .syntax, 2),
    ("é = 'ö' AND ,", .syntax, 12),
    ("a FROM b", .syntax, 2),
    ("abs()", .syntax, 0),
    ("abs(a, b)", .syntax, 0),
    ("max(a)", .arguments, 3),
    ("min(a) > 1", .arguments, 3),
    ("trim(a, b)", .arguments, 8),
    ("trim(a, '\(String(repeating: "x", count: 65))')", .arguments, 8),
    ("rtrim(a, 'x' || b)", .arguments, 9),
    ("\"a b\"(1)", .syntax, nil),
    ("\"\" = 1", .field, 0),
    ("\"a..b\" = 1", .field, 0),
    ("a = \"a[x]\"", .field, 4),
  ]

  @Test("A wrong expression is refused with its kind and place", arguments: refused)
  func refusing(expression: String, kind: ExpressionError.Kind, position: Int?) throws {
    let error = try #require(expressionRefusal(where: expression))
    #expect(error.place == .condition)
    #expect(error.kind == kind, "\(error)")
    if position != nil || kind == .empty { #expect(error.position == position, "\(error)") }
  }

  static let forbidden = [
    "random()", "randomblob(4)", "zeroblob(4)", "date()", "date('now')", "date(a)", "time(a)", "datetime(a)",
    "julianday(a)", "unixepoch()", "strftime('%s', a)", "current_timestamp", "CURRENT_DATE", "Current_Time",
    "load_extension('x')", "readfile('/etc/passwd')", "writefile('/tmp/x', a)", "edit(a)", "fts3_tokenizer('x')",
    "sqlite_version()", "sqlite_source_id()", "sqlite_compileoption_get(0)", "sqlite_log(1, a)", "changes()",
    "total_changes()", "last_insert_rowid()", "count(a)", "sum(a)", "avg(a)", "total(a)", "group_concat(a)",
    "row_number()", "json_each(a)", "json_tree(a)", "json_group_array(a)", "pragma_database_list()",
    "RAISE(ABORT, 'x')", "likelihood(a, 0.5)", "unlikely(a)", "subtype(a)", "quote(a)", "soundex(a)", "nothing(a)",
    "RANDOM /* x */ ()", "match(a, a)", "regexp(a, a)", "rtreenode(1, a)", "snippet(a)",
  ]

  @Test("What brings in time, chance, files or many readings is refused", arguments: forbidden)
  func forbidding(expression: String) throws {
    let error = try #require(expressionRefusal(where: expression))
    #expect(error.kind == .function || error.kind == .notAvailable, "\(error)")
    #expect(error.position == 0)
    let entry = try #require(expressionRefusal(select: ["a", "1 + \(expression) AS x"]))
    #expect(entry.place == .selected(1))
    #expect(entry.position == 4)
  }

  @Test(
    "SQLite itself denies everything but functions, whatever gets as far as it",
    arguments: [
      "SELECT * FROM sqlite_master", "SELECT * FROM json_each('[1]')", "SELECT * FROM pragma_database_list",
      "SELECT name FROM pragma_function_list", "PRAGMA trusted_schema = ON", "PRAGMA database_list",
      "ATTACH '/tmp/forebay-expression.db' AS x", "ATTACH ':memory:' AS x", "DETACH main", "CREATE TABLE t(a)",
      "CREATE TEMP TABLE t(a)", "CREATE VIRTUAL TABLE t USING fts5(a)", "VACUUM INTO '/tmp/forebay-expression.db'",
      "BEGIN", "COMMIT", "SAVEPOINT a", "ANALYZE", "REINDEX",
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
      "SELECT random()", "SELECT randomblob(4)", "SELECT zeroblob(4)", "SELECT date()", "SELECT datetime('now')",
      "SELECT current_timestamp", "SELECT current_date", "SELECT current_time", "SELECT strftime('%s')",
      "SELECT julianday()", "SELECT unixepoch()", "SELECT load_extension('x')", "SELECT count(*)", "SELECT sum(1)",
      "SELECT group_concat('a')", "SELECT sqlite_version()", "SELECT last_insert_rowid()", "SELECT changes()",
      "SELECT fts3_tokenizer('simple')", "SELECT json_group_array(1)", "SELECT row_number() OVER ()",
      "SELECT 1; SELECT 2",
      "SELECT sqlite_compileoption_used('x')", "", "-- nothing",
    ])
  func denying(sql: String) throws {
    let connection = try ExpressionConnection()
    #expect(throws: ExpressionConnection.Refused.self) { try connection.prepare(sql) }
  }

  @Test("A statement of functions is compiled: the denials above are not denials of everything")
  func allowing() throws {
    let statement = try ExpressionConnection().prepare("SELECT abs(-3), upper('a')")
    #expect(statement.columns == 2)
    #expect(statement.evaluate() == nil)
    guard case .integer(3) = statement.result(0) else { return #expect(Bool(false)) }
    statement.reset()
  }

  // MARK: select

  static let wrongEntries: [(entries: [String], kind: ExpressionError.Kind, index: Int)] = [
    (["a + 1"], .name, 0),
    (["a", "a"], .name, 1),
    (["a", "b", "1 AS a"], .name, 2),
    (["\"x.a\"", "a"], .name, 1),
    (["\"a[0]\""], .name, 0),
    (["a AS \"\""], .name, 0),
    (["*", "*"], .star, 1),
    (["* EXCEPT"], .star, 0),
    (["* EXCEPT ()"], .star, 0),
    (["* EXCEPT (a,)"], .star, 0),
    (["* EXCEPT (a b)"], .star, 0),
    (["* EXCEPT (a, b"], .star, 0),
    (["* EXCEPT (1)"], .star, 0),
    (["* EXCEPT (\"a.b\")"], .star, 0),
    (["* EXCEPT (a) b"], .star, 0),
    (["* AS a"], .star, 0),
    (["2 * AS a"], .syntax, 0),
    (["AS a"], .syntax, 0),
    (["a AS b AS c"], .syntax, 0),
    (["a", ""], .empty, 1),
    (["a AS a, b AS b"], .syntax, 0),
    (["a b c AS d"], .syntax, 0),
  ]

  @Test("A wrong entry of select is refused with its number", arguments: wrongEntries)
  func refusingEntries(entries: [String], kind: ExpressionError.Kind, index: Int) throws {
    let error = try #require(expressionRefusal(select: entries))
    #expect(error.kind == kind, "\(error)")
    #expect(error.place == .selected(index), "\(error)")
  }

  @Test("An error says the place, the cause and the way out")
  func words() throws {
    #expect(
      expressionRefusal(where: "ä = object.x")?.description
        == #"where: a path to a nested field stands in double quotes, as in "object.temperature" or "#
        + #""rxInfo[0].rssi" (character 11)"#)
    #expect(
      expressionRefusal(select: ["*", "a NOTHING 'x' AS b"])?.description
        == #"select[1]: SQLite refuses it at the field NOTHING, ?N in its words: near "?2": syntax error (character 3)"#
    )
    #expect(expressionRefusal(where: "a AND ")?.description == "where: the expression ends too early (character 7)")
    #expect(
      expressionRefusal(where: "round(a, 1, 2)")?.description
        == "where: SQLite refuses it at ROUND: wrong number of arguments to function ROUND() (character 1)")
  }

  // MARK: Bounds

  @Test("Long, deep and many expressions are refused, and those just within the bounds are not")
  func bounds() throws {
    let limits = ExpressionLimits.standard
    func sum(_ terms: Int) -> String { Array(repeating: "a", count: terms).joined(separator: "+") }
    #expect(expressionRefusal(where: sum(limits.depth - 5)) == nil)
    #expect(expressionRefusal(where: sum(limits.depth + 1)) != nil)
    let list = "a IN (" + Array(repeating: "'name'", count: 1_000).joined(separator: ",") + ")"
    #expect(expressionRefusal(where: list) == nil)
    let long = "a = '" + String(repeating: "x", count: limits.sourceBytes) + "'"
    #expect(expressionRefusal(where: long)?.kind == .tooLarge)
    let arguments = Array(repeating: "a", count: limits.arguments)
    #expect(expressionRefusal(where: "max(\(arguments.joined(separator: ",")))") == nil)
    #expect(expressionRefusal(where: "max(\((arguments + ["a"]).joined(separator: ",")))") != nil)
    let entries = (0...limits.entries).map { "a + \($0) AS n\($0)" }
    #expect(expressionRefusal(select: Array(entries.dropLast())) == nil)
    #expect(expressionRefusal(select: entries)?.kind == .tooLarge)
    let nested = String(repeating: "(", count: 4_000) + "a" + String(repeating: ")", count: 4_000)
    #expect(expressionRefusal(where: nested) != nil)
    var few = limits
    few.instructions = 60
    #expect(expressionRefusal(where: sum(10), limits: few) == nil)
    #expect(
      expressionRefusal(where: "a IN (" + (0..<100).map { "b+\($0)" }.joined(separator: ",") + ")", limits: few)?.kind
        == .tooLarge)
  }

  @Test("Whatever tokens are thrown together, the answer is an error or a value")
  func soup() throws {
    let words = [
      "a", "\"b.c\"", "key", "time", "1", "2.5", "'x'", "'it''s'", "NULL", "TRUE", "(", ")", "(", ")", ",", "+", "-",
      "*",
      "/", "%", "||", "=", "<", ">=", "<>", "->", "->>", "<<", "~", "NOT", "AND", "OR", "IS", "IN", "LIKE", "GLOB",
      "BETWEEN", "CASE", "WHEN", "THEN", "ELSE", "END", "CAST", "AS", "INTEGER", "COLLATE", "NOCASE", "abs", "max",
      "json_extract", "format", "replace", "trim", "ESCAPE", "DISTINCT", "FROM", "ISNULL", "--", "/*", "*/", "'", "\"",
    ]
    var generator = SeededGenerator(seed: 4)
    var compiled = 0
    for _ in 0..<20_000 {
      let count = Int.random(in: 1...9, using: &generator)
      let text = (0..<count).map { _ in words.randomElement(using: &generator)! }.joined(separator: " ")
      guard var selection = try? Selection(where: text, select: []) else { continue }
      compiled += 1
      do throws(EvaluationError) {
        _ = try withTapeTyped(#"{"a":-9223372036854775808,"b":{"c":"{\"x\":[1]}"}}"#, &selection)
      } catch { #expect(error.kind == .function || error.kind == .tooLong, "\(text)") }
    }
    #expect(compiled > 200)
  }

  private func withTapeTyped(_ json: String, _ selection: inout Selection) throws(EvaluationError) -> Bool? {
    var tape = JSONTape()
    let result: Result<Bool?, EvaluationError> = Array(json.utf8).withUnsafeBytes { bytes in
      guard (try? tape.read(bytes)) != nil else { return .success(nil) }
      do throws(EvaluationError) { return .success(try selection.passes(tape, 0, in: bytes, someContext)) } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }
}
