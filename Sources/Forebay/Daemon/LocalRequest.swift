internal import FoundationEssentials

/// What somebody asks the daemon for over its local socket: one line of JSON, or nothing at all, which asks for the
/// status.
enum LocalRequest: Sendable, Hashable {
  case status
  case devices(DeviceQuery)

  private struct Line: Codable {
    var devices: DeviceQuery?
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
    self = line.devices.map { .devices($0) } ?? .status
  }

  /// With its line feed.
  var line: [UInt8] {
    switch self {
    case .status: [UInt8(ascii: "\n")]
    case .devices(let query):
      Array(((try? Output.json(Line(devices: query), pretty: false)) ?? "").utf8) + [UInt8(ascii: "\n")]
    }
  }
}
