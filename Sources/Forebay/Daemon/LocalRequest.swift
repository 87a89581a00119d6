internal import FoundationEssentials

/// What somebody asks the daemon for over its local socket: one line of JSON, or nothing at all, which asks for the
/// status.
enum LocalRequest: Sendable, Hashable {
  case status
  case devices(DeviceQuery)
  /// The Prometheus page.
  case metrics
  /// Of the last batches.
  case traces

  private struct Line: Codable {
    var devices: DeviceQuery?
    /// `metrics` or `traces`.
    var document: String?
  }

  /// A request is longer only where it names thousands of devices.
  static let longest = 256 << 10

  /// Nil for what is no request.
  init?(line: [UInt8]) {
    let text = line.prefix { $0 != UInt8(ascii: "\n") }
    guard !text.isEmpty else {
      self = .status
      return
    }
    guard let line = try? JSONDecoder().decode(Line.self, from: Data(text)) else { return nil }
    switch (line.devices, line.document) {
    case (let query?, nil): self = .devices(query)
    case (nil, nil): self = .status
    case (nil, "metrics"): self = .metrics
    case (nil, "traces"): self = .traces
    default: return nil
    }
  }

  /// With its line feed.
  var line: [UInt8] {
    switch self {
    case .status: [UInt8(ascii: "\n")]
    case .devices(let query): LocalRequest.encoded(Line(devices: query))
    case .metrics: LocalRequest.encoded(Line(document: "metrics"))
    case .traces: LocalRequest.encoded(Line(document: "traces"))
    }
  }

  private static func encoded(_ line: Line) -> [UInt8] {
    Array(((try? Output.json(line, pretty: false)) ?? "").utf8) + [UInt8(ascii: "\n")]
  }
}
