import Foundation

/// What a kill run ended with.
struct KillVerdict {
  var published: Int
  /// Sent again by the devices themselves.
  var resent: Int
  /// Messages that the broker had acknowledged and that are not at the receiver.
  var lost: [House.Reading] = []
  /// How many readings are at the receiver more than once, each surplus one counted.
  var repeats = 0
  /// Readings that nobody published.
  var invented: [House.Reading] = []
  /// Of `receive --verify` and `audit`, when they find something.
  var objections: [String] = []

  /// - Parameters:
  ///   - delivered: the readings at the receiver.
  ///   - perDevice: what each device has said, numbered from 1.
  init(delivered: [House.Reading], perDevice: Int, published: Int, resent: Int) {
    self.published = published
    self.resent = resent
    var counts: [House.Reading: Int] = [:]
    for reading in delivered { counts[reading, default: 0] += 1 }
    for device in 1...KillFlow.devices {
      let number = String(device)
      let name = "pump-" + String(repeating: "0", count: max(0, 3 - number.count)) + number
      for seq in 1...perDevice {
        let reading = House.Reading(device: name, seq: seq)
        guard let count = counts.removeValue(forKey: reading) else {
          lost.append(reading)
          continue
        }
        repeats += count - 1
      }
    }
    invented = Array(counts.keys)
  }

  /// What is wrong; empty when every message is there exactly once, but for what its device sent twice.
  var faults: [String] {
    var faults = objections
    if !lost.isEmpty { faults.append("\(lost.count) messages lost, such as \(lost[0])") }
    if repeats > resent { faults.append("\(repeats) repeats, of which devices sent only \(resent) again") }
    if !invented.isEmpty { faults.append("\(invented.count) readings that nobody published") }
    return faults
  }

  var text: String {
    "\(published) published, \(lost.count) lost, \(repeats) repeats (\(resent) sent again by devices), "
      + "\(invented.count) invented, " + (objections.isEmpty ? "chains and books hold" : "CHAINS OR BOOKS DO NOT HOLD")
  }
}
