/// Guesses which of some permitted words was meant by one that is not.
package enum Suggestion {
  /// The permitted word nearest to `word`; nil when none is near enough to be more than a coincidence.
  package static func nearest(to word: String, among permitted: [String]) -> String? {
    let text = folded(word)
    guard !text.isEmpty, text.count <= 64 else { return nil }
    var best: (word: String, distance: Int)?
    for candidate in permitted {
      let distance = distance(text, folded(candidate))
      if distance < best?.distance ?? .max { best = (candidate, distance) }
    }
    if let best, best.distance <= max(1, text.count / 3), best.distance < folded(best.word).count {
      return best.word
    }
    // `password` for `password_file`, `dir` for `directory`: only when it can mean nothing else.
    let longer = permitted.filter { text.count >= 3 && folded($0).starts(with: text) }
    return longer.count == 1 ? longer.first : nil
  }

  /// Words that differ only in case and in how they are joined are the same word.
  private static func folded(_ word: String) -> [UInt8] {
    word.lowercased().utf8.filter { $0 != UInt8(ascii: "_") && $0 != UInt8(ascii: "-") }
  }

  /// The fewest insertions, deletions, replacements and swaps of neighbours that make `b` of `a`
  /// (optimal string alignment).
  package static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var twoBefore = [Int](repeating: 0, count: b.count + 1)
    var before = Array(0...b.count)
    for (i, left) in a.enumerated() {
      var row = [i + 1]
      for (j, right) in b.enumerated() {
        var cost = min(before[j + 1] + 1, row[j] + 1, before[j] + (left == right ? 0 : 1))
        if i > 0, j > 0, left == b[j - 1], a[i - 1] == right {
          cost = min(cost, twoBefore[j - 1] + 1)
        }
        row.append(cost)
      }
      (twoBefore, before) = (before, row)
    }
    return before[b.count]
  }
}
