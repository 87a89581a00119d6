/// What keeps an expression, and whatever a device sends into it, from taking much memory or time.
package struct ExpressionLimits: Sendable, Hashable {
  /// Bytes of one expression as it is written. The longest in use are lists of some hundred names.
  package var sourceBytes = 8_192
  /// Entries of `select`.
  package var entries = 256
  /// Bytes of a text or field that an evaluation handles. Some functions take time by the product of two
  /// lengths (`replace`, `instr`), and this is the bound on each of them. `format` with a width beyond it gives
  /// NULL.
  package var textBytes = 65_536
  /// Bytes of the pattern of LIKE and GLOB, whose time also goes with the product.
  package var patternBytes = 256
  /// Bytes of the characters that `trim` takes away, each of which is compared with each of the text.
  package var trimmedBytes = 64
  /// Operators within one another, as SQLite counts them; 199 names joined by AND fit.
  package var depth = 200
  /// Arguments of one function call: each may hold a text of ``textBytes``.
  package var arguments = 32
  /// Instructions of one compiled statement, which holds all entries of `select`. Without tables there are no
  /// loops, so this bounds the steps of an evaluation as well. SQLite counts in doublings of its array.
  package var instructions = 50_000
  /// Instructions that one evaluation may take: a second fence, should SQLite find a way to loop.
  package var steps = 100_000

  package static let standard = ExpressionLimits()

  package init() {}
}
