import Pipeline
import Telemetry

/// SplitMix64 with a seed, so that every run sees the same stream.
struct StreamGenerator: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed &* 0x2545_F491_4F6C_DD1D &+ 1 }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
  mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}

let second: Int64 = 1_000_000_000
/// 2026-11-21T00:00:00Z.
let day: Int64 = 1_795_219_200 * second

/// What a store holds after each seal.
struct RowStore {
  var rows: [[UInt8]: [UInt8]] = [:]

  mutating func apply(_ changes: [StateRow]) {
    for row in changes { rows[row.key] = row.value }
  }

  /// In no particular order, as a store may give them.
  var all: [StateRow] { rows.map { StateRow(key: $0.key, value: $0.value) } }
}

extension [UInt8] {
  /// With a bit turned, a byte lost or some added.
  func damaged(using generator: inout StreamGenerator) -> [UInt8] {
    var bytes = self
    switch generator.below(4) {
    case 0 where !bytes.isEmpty: bytes[generator.below(bytes.count)] ^= UInt8(1 << generator.below(8))
    case 1: bytes.removeLast(Swift.min(bytes.count, 1 + generator.below(9)))
    case 2: bytes += (0...generator.below(12)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    default:
      for _ in 0..<4 where !bytes.isEmpty {
        bytes[generator.below(bytes.count)] = UInt8(truncatingIfNeeded: generator.next())
      }
    }
    return bytes
  }
}

func moment(
  wall: Int64, monotonic: Int64, _ quality: ClockQuality = .synchronised, boot: UInt64 = 1
) -> Moment {
  Moment(boot: BootID(high: 0, low: boot), monotonic: monotonic, wall: wall, quality: quality)
}

extension WindowSet {
  @discardableResult
  mutating func add(_ time: Int64, _ key: String, _ inputs: [WindowInput]) -> WindowPlacement {
    Array(key.utf8).withUnsafeBytes { key in
      inputs.withUnsafeBufferPointer {
        add(time, offset: 1, key: key, inputs: $0)
      }
    }
  }

  @discardableResult
  mutating func add(_ time: Int64, _ key: String, _ value: Double) -> WindowPlacement {
    add(time, key, [.number(value)])
  }
}
