import Foundation
import TestSupport

/// The devices of a kill run: 200 of them, whose messages flow until the last round is over, however
/// fast or slow the rounds are.
///
/// Each number is said once. The flow is cut into slices, one `forebay simulate` after the other, in
/// which every device goes on where it stopped; the rate of a slice follows from how long the rounds
/// take on this machine today.
final class KillFlow {
  static let devices = 200
  private static let perDeviceAndSlice = 10
  static let perSlice = devices * perDeviceAndSlice
  private static let roundsPerSlice = 8

  private struct Report: Decodable {
    var published: Int
    var acknowledged: Int
    var resent: Int
  }

  /// More than were meant at first where the rounds get slower than they were.
  private(set) var slices: Int
  private let house: House
  private let seed: UInt64
  private var started = 0
  private var current: ChildProcess?
  /// Of the slices that are over.
  private(set) var published = 0
  /// What devices sent again because the broker went away before it had acknowledged it: the only
  /// repeats that nobody behind the broker can tell from new messages.
  private(set) var resent = 0

  /// - Parameter rounds: how many rounds it has to last for.
  init(_ house: House, rounds: Int, seed: UInt64) {
    self.house = house
    self.seed = seed
    slices = max(1, (rounds + KillFlow.roundsPerSlice / 2) / KillFlow.roundsPerSlice)
  }

  var total: Int { slices * KillFlow.perSlice }
  /// What each device says in all.
  var perDevice: Int { slices * KillFlow.perDeviceAndSlice }
  private var isOver: Bool { started == slices && current == nil }

  /// Starts the next slice when one is over. Called again and again.
  func tend(roundsLeft: Int, secondsPerRound: Double) throws {
    if let child = current {
      guard let status = child.poll() else { return }
      current = nil
      try book(status)
    }
    if started == slices, roundsLeft > 0 { slices += 1 }
    guard started < slices else { return }
    let slicesLeft = slices - started
    let rounds = max(1, (roundsLeft + slicesLeft - 1) / slicesLeft)
    // The last one should outlive the rounds.
    let spare = slicesLeft == 1 ? 1.6 : 1.1
    let rate = roundsLeft == 0 ? 2_000 : Double(KillFlow.perSlice) / (Double(rounds) * secondsPerRound * spare)
    started += 1
    current = try house.simulate(
      [
        "--devices", "\(KillFlow.devices)", "--count", "\(KillFlow.perSlice)", "--total-rate", "\(rate)",
        "--first-seq", "\((started - 1) * KillFlow.perDeviceAndSlice + 1)", "--seed", "\(seed &+ UInt64(started))",
      ], log: log)
  }

  /// Publishes what is left.
  func finish() throws {
    try house.wait("all is published and acknowledged by the broker", within: 120) {
      try tend(roundsLeft: 0, secondsPerRound: 0)
      return isOver
    }
  }

  private var log: String { "devices-\(started).log" }

  private func book(_ status: Int32) throws {
    let text = TemporaryDirectory.read(house.directory.file(log))
    guard status == 0, let line = text.split(separator: "\n").last,
      let report = try? JSONDecoder().decode(Report.self, from: Data(line.utf8)),
      report.acknowledged == KillFlow.perSlice
    else { throw House.Trouble(description: "the devices ended with \(status): \(text)") }
    published += report.published
    resent += report.resent
  }
}
