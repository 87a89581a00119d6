import Glibc

/// A device: its name, what it measures, and what it says next.
struct SimulatedDevice: Sendable {
  enum Series: Sendable {
    /// Plays the rows from the first on, and begins again at the end.
    case recorded(SeriesCSV)
    /// A daily wave with noise, one value a second.
    case generated(seed: UInt64)
  }

  let topic: String
  var schedule: DeviceSchedule
  /// How many messages are left; nil: without end.
  private(set) var remaining: Int?
  /// Whether payloads carry the recorded moment; otherwise that of sending.
  private let keepsRecordedTime: Bool
  private let series: Series
  private let prefix: [UInt8]
  private let suffix: [UInt8]
  /// Stands between `suffix` and the closing `"}`: as many bytes of it as the payload lacks. Nil: there is no
  /// member `note`.
  private let filler: [UInt8]?
  private var random: SplitMix64
  /// Of the last message.
  private(set) var sequence: Int

  /// What fills a payload up: the kind of text that devices repeat in every message.
  private static let note = Array("calibrated 2024-03-11, range -40 to 125, firmware 4.2.1, line 3 north; ".utf8)

  /// - Parameters:
  ///   - topic: with `{device}` and `{series}`, which are replaced.
  ///   - payloadBytes: a member `note` fills each payload up to so many bytes.
  init(
    name: String, seriesName: String, series: Series, topic: String, schedule: DeviceSchedule,
    remaining: Int?, firstSequence: Int = 1, keepsRecordedTime: Bool, payloadBytes: Int? = nil
  ) {
    sequence = firstSequence - 1
    self.series = series
    self.schedule = schedule
    self.remaining = remaining
    self.keepsRecordedTime = keepsRecordedTime
    self.topic = TopicTemplate.fill(topic, device: name, series: seriesName)
    prefix = Array("{\"device\":\(CompactJSON.quoted(name)),\"seq\":".utf8)
    filler = payloadBytes.map { length in (0..<length).map { Self.note[$0 % Self.note.count] } }
    let suffix = ",\"series\":\(CompactJSON.quoted(seriesName))"
    self.suffix = Array((payloadBytes == nil ? suffix + "}" : suffix + ",\"note\":\"").utf8)
    if case .generated(let seed) = series {
      random = SplitMix64(seed: seed)
    } else {
      random = SplitMix64(seed: 0)
    }
  }

  /// Milliseconds from the first recorded moment to that of the next message.
  var recordedTime: Int64 {
    switch series {
    case .generated: return Int64(sequence) * 1000
    case .recorded(let csv):
      let (lap, row) = sequence.quotientAndRemainder(dividingBy: csv.count)
      // One usual step lies between the last row and the first one of the next lap.
      let span = csv.times[csv.count - 1] - csv.times[0]
      let step = csv.count > 1 ? max(csv.times[1] - csv.times[0], 1) : 1000
      return Int64(lap) * (span + step) + csv.times[row] - csv.times[0]
    }
  }

  /// Sets when the next message is due; nil when there is none.
  mutating func plan(now: Int64) -> Int64? {
    if remaining == 0 { return nil }
    schedule.plan(recorded: recordedTime, now: now)
    return schedule.due
  }

  /// Writes the next message's payload over `payload`.
  ///
  /// - Parameter wall: milliseconds since 1970-01-01T00:00:00Z.
  mutating func next(wall: Int64, into payload: inout [UInt8]) {
    var time = wall
    payload.removeAll(keepingCapacity: true)
    payload += prefix
    payload += String(sequence + 1).utf8
    payload += Array(",\"ts\":".utf8)
    switch series {
    case .recorded(let csv):
      if keepsRecordedTime { time = csv.times[0] + recordedTime }
      payload += String(time).utf8
      payload += Array(",\"value\":".utf8)
      payload += csv.value(sequence % csv.count)
    case .generated:
      payload += String(time).utf8
      payload += Array(",\"value\":".utf8)
      let wave = sin(Double(sequence) / 86_400 * 2 * .pi) * 10
      let noise = Double.random(in: -0.5...0.5, using: &random)
      payload += String(((60 + wave + noise) * 1000).rounded() / 1000).utf8
    }
    payload += suffix
    if let filler {
      payload += filler.prefix(max(0, filler.count - payload.count - 2))
      payload.append(UInt8(ascii: "\""))
      payload.append(UInt8(ascii: "}"))
    }
    sequence += 1
    if let left = remaining { remaining = left - 1 }
  }
}

/// Where devices publish: a topic with `{device}` and `{series}` in it.
enum TopicTemplate {
  static func fill(_ template: String, device: String, series: String) -> String {
    var out = ""
    var rest = template[...]
    while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
      out += rest[..<open]
      out += rest[rest.index(after: open)..<close] == "device" ? device : series
      rest = rest[rest.index(after: close)...]
    }
    return out + rest
  }

  /// Why devices cannot publish to it; nil when they can (MQTT 5.0, section 4.7.3).
  static func fault(_ template: String) -> String? {
    var rest = template[...]
    while let open = rest.firstIndex(of: "{") {
      guard let close = rest[open...].firstIndex(of: "}") else { return "a brace is not closed" }
      let name = rest[rest.index(after: open)..<close]
      guard name == "device" || name == "series" else {
        return "{\(name)} is neither {device} nor {series}"
      }
      rest = rest[rest.index(after: close)...]
    }
    if template.isEmpty { return "is empty" }
    if template.unicodeScalars.contains(where: { "+#\0".unicodeScalars.contains($0) }) {
      return "devices cannot publish to wildcards"
    }
    return template.utf8.count > 1024 ? "is too long" : nil
  }
}
