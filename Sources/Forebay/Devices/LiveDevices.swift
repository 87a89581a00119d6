internal import FoundationEssentials
internal import Pipeline

/// What the running daemon says of the devices of a pipeline.
struct LiveDevices: Sendable {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  private struct Page: Decodable {
    var error: String?
    var known: Int?
    var devices: [DeviceReport]?
    var next: String?
  }

  let pipeline: String
  let socket: String
  /// How many it knows.
  private(set) var known = 0
  /// By name.
  private var devices: [String: DeviceReport] = [:]

  /// - Throws: ``LocalSocket/Failure`` where no daemon answers, and ``Failure`` with what it says instead.
  static func fetch(_ pipeline: String, socket: String) throws -> LiveDevices {
    var live = LiveDevices(pipeline: pipeline, socket: socket)
    var after: String?
    repeat {
      let page = try live.page(DeviceQuery(pipeline: pipeline, limit: DeviceQuery.mostDevices, after: after))
      live.known = page.known ?? 0
      for device in page.devices ?? [] { live.devices[device.device] = device }
      after = page.next
    } while after != nil
    return live
  }

  init(pipeline: String, socket: String, _ devices: [DeviceReport] = []) {
    self.pipeline = pipeline
    self.socket = socket
    known = devices.count
    self.devices = Dictionary(devices.map { ($0.device, $0) }, uniquingKeysWith: { first, _ in first })
  }

  private func page(_ query: DeviceQuery) throws -> Page {
    let bytes = try LocalSocket.fetch(socket, .devices(query))
    guard let page = try? JSONDecoder().decode(Page.self, from: Data(bytes)) else {
      throw Failure(description: "\(socket): the answer is none that this version understands")
    }
    if let error = page.error { throw Failure(description: error) }
    return page
  }

  /// What the stages remember, and what the daemon has seen beside it.
  func merged(_ list: DeviceList, worst: Bool) -> [DeviceReport] {
    var merged = list.devices(worst: worst, limit: .max)
    for index in merged.indices {
      guard let live = devices[merged[index].device] else { continue }
      merged[index].lastSeen = live.lastSeen
      merged[index].readings = live.readings
      merged[index].perSecond = live.perSecond
    }
    let remembered = Set(merged.map(\.device))
    let others = devices.values.filter { !remembered.contains($0.device) }
      .sorted { $0.device.utf8.lexicographicallyPrecedes($1.device.utf8) }
    guard !others.isEmpty else { return merged }
    merged += others
    return worst ? merged : merged.sorted { $0.device.utf8.lexicographicallyPrecedes($1.device.utf8) }
  }

  /// The same devices with their last readings.
  func withLines(_ reports: [DeviceReport]) throws -> [DeviceReport] {
    var reports = reports
    let seen = reports.indices.filter { reports[$0].lastSeen != nil }
    for start in stride(from: 0, to: seen.count, by: DeviceQuery.mostValues) {
      let part = seen[start..<min(start + DeviceQuery.mostValues, seen.count)]
      let page = try page(
        DeviceQuery(
          pipeline: pipeline, limit: DeviceQuery.mostValues, names: part.map { reports[$0].device }, values: .lines))
      let found = Dictionary(
        page.devices?.map { ($0.device, $0) } ?? [], uniquingKeysWith: { first, _ in first })
      for index in part {
        reports[index].line = found[reports[index].device]?.line
        reports[index].noValue = found[reports[index].device]?.noValue
      }
    }
    return reports
  }

  /// How long ago a time was, for people.
  static func ago(_ time: String, now: Int64) -> String {
    guard let wall = try? Array(time.utf8).withUnsafeBytes({ try RFC3339.nanoseconds($0) }) else { return time }
    // A wall clock that was set back leaves times that lie ahead.
    return wall > now + 1_000_000_000 ? Output.time(wall) : Output.duration(max(0, now - wall)) + " ago"
  }

  /// In the unit that leaves at least one, for people.
  static func rate(_ perSecond: Double) -> String {
    for (seconds, unit) in [(1.0, "s"), (60, "min"), (3_600, "h")] where perSecond * seconds >= 1 || unit == "h" {
      return Output.decimal(perSecond * seconds, places: 1) + "/" + unit
    }
    return "-"
  }
}
