extension String {
  /// At most so many bytes of UTF-8, cut between characters; what was cut is marked.
  package func shortened(to limit: Int) -> String {
    guard utf8.count > limit else { return self }
    var text = ""
    var room = limit - 3
    for character in self {
      room -= character.utf8.count
      if room < 0 { break }
      text.append(character)
    }
    return text + "…"
  }
}
