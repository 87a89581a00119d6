/// The functions of SQLite that expressions may call.
///
/// All give the same result for the same arguments, on every call. Left out on purpose:
/// - `random()`, `randomblob()`: readings must come out the same when they are read again;
/// - all of `date()`, `time()`, `datetime()`, `julianday()`, `unixepoch()`, `strftime()` and `current_…`: not
///   only do they default to the clock, a text of `now` or `localtime` in a *field* would bring it in; event
///   time is there as the number `time`;
/// - what reads the connection's state or the library's version, loads code, or makes blobs;
/// - aggregates and window functions: an expression sees one reading.
enum ExpressionFunctions {
  static let allowed: Set<String> = [
    "->", "->>", "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "ceiling", "char",
    "coalesce", "cos", "cosh", "degrees", "exp", "floor", "format", "glob", "hex", "ifnull", "iif", "instr",
    "json_array_length", "json_extract", "json_type", "json_valid", "length", "like", "ln", "log", "log10", "log2",
    "lower", "ltrim", "max", "min", "mod", "nullif", "pi", "pow", "power", "printf", "radians", "replace", "round",
    "rtrim", "sign", "sin", "sinh", "sqrt", "substr", "substring", "tan", "tanh", "trim", "trunc", "typeof",
    "unicode", "upper",
  ]

  private static let ofTime: Set<String> = [
    "date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff", "current_date", "current_time",
    "current_timestamp",
  ]
  private static let ofChance: Set<String> = ["random", "randomblob"]
  private static let ofMany: Set<String> = [
    "avg", "count", "group_concat", "string_agg", "sum", "total", "row_number", "rank", "lag", "lead", "first_value",
    "last_value",
  ]

  /// Why a function (in lower case) is not available; nil where it is.
  static func objection(to name: String) -> String? {
    if allowed.contains(name) { return nil }
    if ofTime.contains(name) {
      return "\(name) is not available, because the clock would get in and a replay give other readings; "
        + "compute with time and received, which are nanoseconds since 1970"
    }
    if ofChance.contains(name) {
      return "\(name)() is not available, because a replay would give other readings"
    }
    if ofMany.contains(name) {
      return "\(name)() is not available, because an expression sees one reading; aggregate in a window"
    }
    return "there is no function \(name)() for expressions; a field of that name stands in double quotes"
  }
}
