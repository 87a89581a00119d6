/// Patterns are written as ECMA-262 has them and read by PCRE2, which means something else by some of them.
enum PatternDialect {
  /// What ECMA-262 takes for whitespace and line ends (its sections 12.2 and 12.3), for a class.
  private static let whitespace =
    "\u{09}-\u{0D}\u{20}\u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{FEFF}"

  /// The general categories of Unicode by their long names, which PCRE2 knows by the short ones only.
  private static let categories: [String: String] = [
    "Letter": "L", "Lowercase_Letter": "Ll", "Uppercase_Letter": "Lu", "Titlecase_Letter": "Lt",
    "Cased_Letter": "L&", "Modifier_Letter": "Lm", "Other_Letter": "Lo", "Mark": "M", "Combining_Mark": "M",
    "Nonspacing_Mark": "Mn", "Spacing_Mark": "Mc", "Enclosing_Mark": "Me", "Number": "N",
    "Decimal_Number": "Nd", "digit": "Nd", "Letter_Number": "Nl", "Other_Number": "No", "Punctuation": "P",
    "punct": "P", "Connector_Punctuation": "Pc", "Dash_Punctuation": "Pd", "Open_Punctuation": "Ps",
    "Close_Punctuation": "Pe", "Initial_Punctuation": "Pi", "Final_Punctuation": "Pf",
    "Other_Punctuation": "Po", "Symbol": "S", "Math_Symbol": "Sm", "Currency_Symbol": "Sc",
    "Modifier_Symbol": "Sk", "Other_Symbol": "So", "Separator": "Z", "Space_Separator": "Zs",
    "Line_Separator": "Zl", "Paragraph_Separator": "Zp", "Other": "C", "Control": "Cc", "cntrl": "Cc",
    "Format": "Cf", "Surrogate": "Cs", "Private_Use": "Co", "Unassigned": "Cn",
  ]

  /// The same pattern for PCRE2: `\s` and `\S` take in all of Unicode's whitespace (`\S` within a class only
  /// that of ASCII), and `\p{Letter}`, `\p{gc=Letter}` and their like stand as `\p{L}`.
  static func translate(_ pattern: [UInt8]) -> [UInt8] {
    guard pattern.contains(UInt8(ascii: "\\")) else { return pattern }
    var output: [UInt8] = []
    output.reserveCapacity(pattern.count + 64)
    var inClass = false
    var index = 0
    while index < pattern.count {
      let byte = pattern[index]
      index += 1
      if byte == UInt8(ascii: "[") { inClass = true }
      if byte == UInt8(ascii: "]") { inClass = false }
      output.append(byte)
      guard byte == UInt8(ascii: "\\"), index < pattern.count else { continue }
      let letter = pattern[index]
      index += 1
      switch letter {
      case UInt8(ascii: "s"):
        output.removeLast()
        output += (inClass ? whitespace : "[\(whitespace)]").utf8
      case UInt8(ascii: "S") where !inClass:
        output.removeLast()
        output += "[^\(whitespace)]".utf8
      case UInt8(ascii: "p"), UInt8(ascii: "P"):
        output.append(letter)
        guard index < pattern.count, pattern[index] == UInt8(ascii: "{"),
          let end = pattern[index...].firstIndex(of: UInt8(ascii: "}"))
        else { continue }
        var name = String(decoding: pattern[index + 1..<end], as: UTF8.self)
        for prefix in ["General_Category=", "gc="] where name.hasPrefix(prefix) {
          name.removeFirst(prefix.count)
        }
        output += "{\(categories[name] ?? name)}".utf8
        index = end + 1
      default:
        output.append(letter)
      }
    }
    return output
  }
}
