import Testing

@testable import forebay

@Suite("When the history is written")
struct KeepRhythmTests {
  private static let second: Int64 = 1_000_000_000

  /// The seconds at which it is written, asked every ten seconds as by the looks.
  private func writings(
    until end: Int64, isYoung: Bool = false, hurriedAt isHurried: (Int64) -> Bool = { _ in false }
  ) -> [Int64] {
    var rhythm = KeepRhythm(started: 0, isYoung: isYoung)
    return stride(from: Int64(0), to: end, by: 10).filter { seconds in
      if isHurried(seconds) { rhythm.hurry() }
      return rhythm.isDue(now: seconds * Self.second)
    }
  }

  @Test("ever more seldom in the first ten minutes, then every ten minutes")
  func rhythm() {
    #expect(writings(until: 3_000) == [60, 120, 240, 480, 960, 1_560, 2_160, 2_760])
    #expect(writings(until: 300, isYoung: true) == [10, 70, 140, 280])
  }

  @Test("a change is written at the look that saw it, and the next turn comes ten minutes later")
  func hurried() {
    #expect(writings(until: 3_000) { $0 == 1_000 } == [60, 120, 240, 480, 960, 1_000, 1_600, 2_200, 2_800])
  }

  @Test("what changes all the time is written at most 300 times a day, and a few times more on the first")
  func wear() {
    let all = writings(until: 2 * 86_400) { _ in true }
    #expect(all.count { $0 >= 86_400 } <= 300)
    #expect(all.count <= 620)
    #expect(zip(all, all.dropFirst()).allSatisfy { $1 - $0 <= 600 })
  }
}
