/// A rule that cannot be read, with the place.
struct FaultGrammarError: Error, Sendable, Hashable, CustomStringConvertible {
  /// `--fail`, or a file and a line.
  var place: String
  var text: String
  /// From 1.
  var column: Int
  var reason: String

  var description: String { "\(place): '\(text)', column \(column): \(reason)" }
}

// rule    = kind [ "x" COUNT | "%" PERCENT ] [ ":" option { "," option } ]
// kind    = STATUS | "conflict" | "has-it" | "redirect" | "captive" | "silent" | "half"
//         | "garbage" | "drop-after-store"
// option  = "retry-after=" SECONDS | "over=" BYTES | "matching=" TEXT
// TEXT runs to the end of the rule, commas included.
extension FaultRule {
  static let kinds: [(name: String, effect: Effect)] = [
    ("conflict", .conflict), ("has-it", .hasIt), ("redirect", .redirect), ("captive", .captive),
    ("silent", .silent), ("half", .half), ("garbage", .garbage),
    ("drop-after-store", .dropAfterStore),
  ]

  /// Reads one rule. `place` says where it stands, for the error.
  init(_ text: String, place: String = "--fail") throws(FaultGrammarError) {
    func fail(at rest: Substring, _ reason: String) -> FaultGrammarError {
      let column = text.distance(from: text.startIndex, to: rest.startIndex) + 1
      return FaultGrammarError(place: place, text: text, column: column, reason: reason)
    }

    var kind = text.prefix { !"x%:".contains($0) }
    // Of `503y3` the first three characters are right, and the fourth is not.
    let status = kind.prefix { $0.isASCII && $0.isNumber }
    if !status.isEmpty { kind = status }
    if let status = Int(kind) {
      guard (200...599).contains(status) else {
        throw fail(at: kind, "a status is 200 to 599")
      }
      effect = .status(status)
    } else if let known = FaultRule.kinds.first(where: { $0.name == kind }) {
      effect = known.effect
    } else {
      let names = FaultRule.kinds.map(\.name).joined(separator: ", ")
      throw fail(at: kind, "'\(kind)' is neither an HTTP status nor one of \(names)")
    }
    self.text = text

    var rest = text[kind.endIndex...]
    if let sign = rest.first, sign != ":" {
      guard sign == "x" || sign == "%" else {
        throw fail(at: rest, "after a status stands xN, %P, a colon or nothing")
      }
      let amount = rest.dropFirst().prefix { $0 != ":" }
      if sign == "x" {
        guard let count = Int(amount), count >= 1 else {
          throw fail(at: amount, "after 'x' stands how many requests fail, 1 or more")
        }
        portion = .first(count)
      } else {
        guard let percent = Double(amount), percent > 0, percent <= 100 else {
          throw fail(at: amount, "after '%' stands the percentage of requests that fail, up to 100")
        }
        portion = .percent(percent)
      }
      rest = text[amount.endIndex...]
    }
    guard rest.first == ":" else { return }
    rest = rest.dropFirst()
    while true {
      guard let equals = rest.firstIndex(of: "=") else {
        throw fail(at: rest, "expected retry-after=SECONDS, over=BYTES or matching=TEXT")
      }
      let name = rest[..<equals]
      let tail = rest[text.index(after: equals)...]
      if name == "matching" {
        guard !tail.isEmpty else { throw fail(at: tail, "matching= needs a text") }
        matching = Array(tail.utf8)
        return
      }
      let value = tail.prefix { $0 != "," }
      switch name {
      case "retry-after", "over":
        guard let number = Int(value), number >= 0 else {
          let example = "\(kind)x3:\(name)=1000"
          throw fail(
            at: value,
            "\(name)= needs a whole number (how many requests fail stands before the colon: \(example))"
          )
        }
        if name == "over" { over = number } else { retryAfter = number }
      default:
        throw fail(at: name, "'\(name)' is neither retry-after, over nor matching")
      }
      guard value.endIndex < text.endIndex else { return }
      rest = text[text.index(after: value.endIndex)...]
    }
  }

  /// Reads a control file: one rule a line; empty lines and lines that begin with `#` say nothing.
  static func rules(file: String, path: String) throws(FaultGrammarError) -> [FaultRule] {
    var rules: [FaultRule] = []
    let lines = file.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (number, text) in lines.enumerated() {
      guard let first = text.first(where: { $0 != " " }), first != "#" else { continue }
      rules.append(try FaultRule(String(text), place: "\(path):\(number + 1)"))
    }
    return rules
  }
}
