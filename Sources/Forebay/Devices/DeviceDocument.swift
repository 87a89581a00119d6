internal import Pipeline
internal import Spool
internal import Telemetry

/// What the daemon knows of the devices of a pipeline at a glance, as JSON.
struct DeviceDocument {
  var pipeline: String
  var version: String
  /// Wall nanoseconds.
  var now: Int64
  /// How many devices are known, shown or not, and how many were forgotten to make room.
  var known: Int
  var forgotten: Int64
  var devices: [DeviceView.Device]
  /// Of the same devices; empty where the pipeline counts no numbers.
  var sequences: [SequenceState?] = []
  /// Of the same devices; empty where nobody wants them.
  var readings: [LastReadings.Found] = []
  var values = DeviceQuery.Values.none
  /// Whether there are more behind the last one.
  var hasMore: Bool

  var bytes: [UInt8] {
    let rows = devices.indices.map(row)
    let text = CompactJSON.object { json in
      json.add("pipeline", pipeline)
      json.add("version", version)
      json.add("time", RFC3339.text(now))
      json.add("known", known)
      json.add("forgotten", forgotten)
      json.add("devices", raw: CompactJSON.array(rows))
      if hasMore, let last = devices.last { json.add("next", String(decoding: last.key, as: UTF8.self)) }
    }
    return Array(text.utf8)
  }

  private func row(_ index: Int) -> String {
    let device = devices[index]
    return CompactJSON.object { json in
      json.add("device", DeviceName.text(device.key))
      json.add("lastSeen", RFC3339.text(device.received))
      json.add("readings", device.readings)
      if let rate = device.rate(now: now) { json.add("perSecond", raw: Output.decimal(rate, places: 6)) }
      json.add("offset", device.offset.rawValue)
      if let state = sequences.isEmpty ? nil : sequences[index] {
        json.add("received", state.received)
        json.add("missing", state.missing)
        json.add("repeats", state.repeats)
        json.add("resets", state.resets)
        json.add("reordered", state.reordered)
        json.add("last", state.last)
      }
      guard !readings.isEmpty else { return }
      switch readings[index] {
      case .none(let reason): json.add("noValue", reason)
      case .line(let line) where values == .lines: json.add("line", String(decoding: line, as: UTF8.self))
      case .line(let line):
        guard let parts = LineParts(line) else { break }
        if let time = parts.time { json.add("valueTime", String(decoding: time, as: UTF8.self)) }
        if let data = parts.data { json.add("value", raw: String(decoding: data, as: UTF8.self)) }
      }
    }
  }
}

extension PipelineWorker {
  /// What is known of the devices of a pipeline.
  /// - Throws: what keeps the log from being read, where values are wanted.
  func devices(_ query: DeviceQuery, now: Int64) async throws -> DeviceAnswer {
    let look = await look(at: query.pipeline) { ($0.devices, $0.settings, $0.version) }
    guard let (view, settings, version) = look else { return .unknownPipeline }
    guard let view else { return .off }
    let limit = query.boundedLimit
    var devices: [DeviceView.Device]
    if let names = query.names.map(Set.init) {
      devices = view.devices().filter { names.contains(DeviceName.text($0.key)) }
    } else {
      devices = view.devices(after: query.after.map { Array($0.utf8) }, limit: limit + 1)
    }
    let hasMore = devices.count > limit
    devices = Array(devices.prefix(limit))
    var document = DeviceDocument(
      pipeline: query.pipeline, version: version, now: now, known: view.count, forgotten: view.forgotten,
      devices: devices, values: query.values, hasMore: hasMore)
    if settings.sequence != nil {
      let keys = devices.map(\.key)
      document.sequences = await self.look(at: query.pipeline) { core in keys.map(core.sequence(of:)) } ?? []
    }
    if query.values != .none {
      document.readings = try await LastReadings.find(devices, of: settings, version: version) { [self] in
        try logReader()
      }
    }
    return .document(document.bytes)
  }
}

extension Daemon {
  /// The devices of a pipeline in the order of their keys, with the last value of each as it is delivered.
  /// - Parameters:
  ///   - limit: so many at most, and at most ``DeviceQuery/mostValues``.
  ///   - after: `next` of the page before.
  func devices(pipeline: String, limit: Int, after: String?) async throws -> DeviceAnswer {
    try await pipelines.devices(
      DeviceQuery(pipeline: pipeline, limit: limit, after: after, values: .objects), now: SystemClock.wall())
  }

  /// What the local socket answers to this request (``LocalRequest``).
  func answer(_ request: LocalRequest) async -> [UInt8] {
    switch request {
    case .metrics: return await metricsPage()
    case .traces: return traces()
    case .status: return await statusDocument()
    case .devices(let query):
      do {
        switch try await pipelines.devices(query, now: SystemClock.wall()) {
        case .document(let bytes): return bytes
        case .unknownPipeline: return Self.trouble("no pipeline \(quoted(query.pipeline)) runs")
        case .off: return Self.trouble("pipeline \(query.pipeline) has devices: off")
        }
      } catch {
        return Self.trouble("\(error)")
      }
    }
  }

  private static func trouble(_ text: String) -> [UInt8] {
    Array(CompactJSON.object { $0.add("error", text) }.utf8)
  }
}
