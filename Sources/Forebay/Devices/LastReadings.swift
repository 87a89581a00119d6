internal import Dispatch
internal import Pipeline
internal import Spool
internal import Telemetry

/// The last reading of devices, worked out again from the log when somebody asks: what the pipeline would deliver of
/// it, so that fields that are masked are masked here too. Nothing is written.
struct LastReadings {
  /// Bytes of a line that are shown; a longer one is not.
  static let longestLine = 16 << 10

  enum Found: Sendable, Hashable {
    /// Without its line feed.
    case line([UInt8])
    /// Why there is none, for people.
    case none(String)
  }

  private let reader: LogReader
  private var trial: PipelineTrial

  /// - Parameter first: the first offset that will be asked for.
  init(of settings: PipelineSettings, version: String, first: Offset, in reader: LogReader) throws {
    // Stages that look at more than one reading have passed it, and must not judge it by what they do not remember
    // here. A window's reading is shown as it went in.
    var settings = settings
    settings.contract = nil
    settings.dedupe = nil
    settings.sequence = nil
    settings.drift = nil
    settings.window = nil
    if case .receipt = settings.time { settings.time = .receipt(hold: 0) }
    self.reader = reader
    trial = try PipelineTrial(settings: settings, version: version, log: reader.log, first: first)
  }

  /// The last reading of each device, in the order of `devices`.
  static func find(
    _ devices: [DeviceView.Device], of settings: PipelineSettings, version: String, in reader: LogReader
  ) throws -> [Found] {
    var found = [Found](repeating: .none("not looked for"), count: devices.count)
    // The log is read forwards, and a message that has readings of several devices once.
    let order = devices.indices.sorted { devices[$0].offset < devices[$1].offset }
    guard let first = order.first else { return [] }
    var readings = try LastReadings(of: settings, version: version, first: devices[first].offset, in: reader)
    var last: (offset: Offset, lines: Result<[[UInt8]], Missing>)?
    for index in order {
      let device = devices[index]
      if last?.offset != device.offset { last = (device.offset, try readings.lines(at: device.offset)) }
      switch last?.lines {
      case .success(let lines)?: found[index] = choose(device, among: lines)
      case .failure(let missing)?: found[index] = .none(missing.reason)
      case nil: break
      }
    }
    return found
  }

  /// Where the log is read: that blocks, and one after the other is enough.
  private static let queue = DispatchQueue(label: "last-readings")

  /// The same for those who must not block.
  static func find(
    _ devices: [DeviceView.Device], of settings: PipelineSettings, version: String,
    in reader: @escaping @Sendable () throws -> LogReader
  ) async throws -> [Found] {
    try await withCheckedThrowingContinuation { continuation in
      queue.async {
        continuation.resume(
          with: Result { try find(devices, of: settings, version: version, in: try reader()) })
      }
    }
  }

  private struct Missing: Error { var reason: String }

  private mutating func lines(at offset: Offset) throws -> Result<[[UInt8]], Missing> {
    switch try reader.message(at: offset, of: reader.log) {
    case .gone: return .failure(Missing(reason: "the log no longer holds its message"))
    case .message(let message):
      trial.take(Record(offset: offset, message: message), of: reader.log)
      return .success(try trial.portion().readings.map(\.line))
    }
  }

  private static func choose(_ device: DeviceView.Device, among lines: [[UInt8]]) -> Found {
    let line = lines.last { device.isNamed(LineParts($0)?.key ?? []) }
    guard let line else { return .none("under its settings of today the pipeline delivers nothing of it") }
    return line.count <= longestLine ? .line(line) : .none("it is longer than \(Output.bytes(Int64(longestLine)))")
  }
}

/// The members of a line that is delivered, as they stand there.
struct LineParts {
  /// The inside of the string; nil where the line has none.
  private(set) var key: [UInt8]?
  private(set) var time: [UInt8]?
  /// A JSON object.
  private(set) var data: [UInt8]?

  /// Nil for what is no JSON object.
  init?(_ line: [UInt8]) {
    var tape = JSONTape()
    var parts: (key: [UInt8]?, time: [UInt8]?, data: [UInt8]?)
    let isObject = line.withUnsafeBytes { bytes in
      guard (try? tape.read(bytes)) != nil, tape.root.kind == .object else { return false }
      func inside(_ range: Range<Int>) -> [UInt8] {
        let text = bytes[range]
        return Array(text.first == UInt8(ascii: "\"") ? text.dropFirst().dropLast() : text)
      }
      LineFields.forEachMember(of: 0, tape, bytes) { name, index in
        let range = tape.values[index].range
        switch name {
        case "key": parts.key = inside(range)
        case "time": parts.time = inside(range)
        case "data": parts.data = Array(bytes[range])
        default: break
        }
      }
      return true
    }
    guard isObject else { return nil }
    (key, time, data) = parts
  }
}
