import Foundation

/// Writes what a long run has measured into a page, so that nobody has to copy it.
enum Figures {
  /// Replaces what stands between `<!-- name -->` and the next `<!-- end -->` of the page that FOREBAY_FIGURES
  /// names; without the variable nothing is written.
  static func record(_ name: String, _ text: String) throws {
    guard let path = ProcessInfo.processInfo.environment["FOREBAY_FIGURES"] else { return }
    let page = try String(contentsOfFile: path, encoding: .utf8)
    guard let begin = page.range(of: "<!-- \(name) -->\n"),
      let end = page.range(of: "<!-- end -->", range: begin.upperBound..<page.endIndex)
    else { throw House.Trouble(description: "\(path) has no place for <!-- \(name) -->") }
    try page.replacingCharacters(in: begin.upperBound..<end.lowerBound, with: text + "\n")
      .write(toFile: path, atomically: true, encoding: .utf8)
  }
}
