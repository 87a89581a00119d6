internal import Delivery
internal import Ingest
internal import Spool
internal import Status
internal import Telemetry

/// What one look at the daemon sees, as far as objectives and alarms go.
struct Sight: Sendable {
  /// A pipeline that reads, or of which something waits.
  struct Pipeline: Sendable {
    var name: String
    var counters: LedgerCounters
    // ``DaemonFigures/Pipeline``
    var waits = false
    var oldestAge: Int64?
    var hasUnknownAge = false
    /// Nanoseconds for which its batches may be filled (`batch.max_age`): no bound of an objective is for that.
    var fills: Int64 = 0
    /// Numbers that devices left out; nil without `sequence`.
    var missing: Int64?
  }

  var now: Moment
  var sources: [SourceStatus] = []
  /// What their brokers have dropped, by name.
  var drops: [String: BrokerDrops.Mark] = [:]
  var uplinks: [UplinkStatus] = []
  /// Nil: the state could not be read this time.
  var pipelines: [Pipeline]?
  /// Nil: the state could not be read this time.
  var stranded: [DaemonFigures.Stranded]?
  /// Why the configuration was refused.
  var configuration: String?
  var tables: [String] = []
  /// The files of credentials, as they lie on disk.
  var credentials: [CredentialSight] = []
  /// Why the HTTP API is not there as it is configured.
  var api: String?
  /// The uplinks that an operator has stopped.
  var paused: [PausedUplinks.Pause] = []
  var parked: String?
  /// Why the pipelines do not go on.
  var trouble: String?
  var expired: [String: DeadLetterKeeping.EarlyExpiry] = [:]
  /// Hours until there is no room, at the present rate; nil while there is plenty.
  var hoursOfRoom: Double?
  var space: (used: Int64, free: Int64, maximum: Int64, minimumFree: Int64) = (0, .max, .max, 0)
  /// Nanoseconds for which the wall clock has not been synchronised; nil while it is.
  var unsynchronisedFor: Int64?
}

extension Sight {
  /// Nanoseconds for which a broker may be away before somebody is called: it restarts, the network comes and goes.
  private static let sourcePatience: Int64 = 300_000_000_000
  /// The same of an upstream, and of pipelines that try again.
  private static let uplinkPatience: Int64 = 600_000_000_000
  /// Nanoseconds that a clock may take to be synchronised after the boot.
  private static let clockPatience: Int64 = 900_000_000_000
  /// Nanoseconds for which it is told that a message was too large to be taken.
  private static let oversizeMemory: Int64 = 86_400_000_000_000
  /// Hours of room below which somebody should know, and below which somebody is called.
  private static let shortRoom = 24.0
  private static let shortestRoom = 4.0

  /// What runs out, cannot be read, or is refused while an older one still works.
  func credentialConditions(_ settings: AlarmSettings) -> [AlarmCondition] {
    let files = credentials.compactMap {
      CredentialState($0, settings, now: now.wall, isCertain: now.quality == .synchronised).condition
    }
    func refused(_ holder: String, _ text: String?) -> AlarmCondition? {
      text.map { AlarmCondition(.credentials, subject: holder, severity: .ticket, text: "\(holder): \($0)") }
    }
    return files + sources.compactMap { refused("source \($0.name)", $0.refusedCredential) }
      + uplinks.compactMap { refused("uplink \($0.name)", $0.refusedCredential) }
  }

  /// Everything that is wrong.
  /// - Parameter longestWait: nanoseconds that something may wait.
  func conditions(longestWait: Int64) -> [AlarmCondition] {
    ownConditions + spaceConditions + sources.flatMap { Sight.conditions($0, drops[$0.name], now: now.monotonic) }
      + pipelineConditions(longestWait) + uplinkConditions
  }

  /// What this look says nothing of: neither that it lasts nor that it is over.
  var unknown: [UnknownAlarms] {
    var all: [UnknownAlarms] = []
    if let pipelines {
      let ageless = pipelines.filter(\.hasUnknownAge)
      if !ageless.isEmpty { all.append(UnknownAlarms(.backlog, .only(Set(ageless.map(\.name))))) }
    } else {
      all.append(UnknownAlarms(.backlog))
    }
    // Of those that are configured their drivers tell.
    if stranded == nil { all.append(UnknownAlarms(.uplink, .besides(Set(uplinks.map(\.name))))) }
    return all
  }

  private var ownConditions: [AlarmCondition] {
    var all: [AlarmCondition] = []
    if let configuration { all.append(AlarmCondition(.configuration, severity: .ticket, text: configuration)) }
    for text in tables { all.append(AlarmCondition(.table, severity: .ticket, text: "\(text); the old one goes on")) }
    if let api { all.append(AlarmCondition(.api, severity: .ticket, text: api)) }
    for pause in paused {
      let isThere = uplinks.contains { $0.name == pause.uplink }
      let wayOut =
        isThere
        ? "nothing is delivered; resume it"
        : "it is no longer configured, and would be paused again if it came back; resume it with "
          + "POST /v1/uplinks/\(pause.uplink)/resume"
      all.append(
        AlarmCondition(
          .paused, subject: pause.uplink, severity: .ticket,
          text: "uplink \(pause.uplink) is paused since \(pause.since) by \(pause.by): \(wayOut)"))
    }
    if let trouble {
      all.append(
        AlarmCondition(.pipelines, severity: .ticket, pageAfter: Sight.sourcePatience, text: trouble))
    }
    if let unsynchronisedFor, unsynchronisedFor >= Sight.clockPatience {
      all.append(
        AlarmCondition(
          .clock, severity: .ticket,
          text: "the wall clock is not synchronised: times of receipt may be wrong, until a time service sets it"))
    }
    return all
  }

  private var spaceConditions: [AlarmCondition] {
    if let parked { return [AlarmCondition(.parked, severity: .page, text: parked)] }
    // A quarter above the minimum what can go early goes early.
    if space.minimumFree > 0, space.free < space.minimumFree + space.minimumFree / 4 {
      return [
        AlarmCondition(
          .disk, severity: .ticket,
          text: "the disk has \(Output.bytes(space.free)) free; below \(Output.bytes(space.minimumFree)) nothing is "
            + "taken in any more")
      ]
    }
    guard let hoursOfRoom, hoursOfRoom < Sight.shortRoom else { return [] }
    return [
      AlarmCondition(
        .disk, severity: hoursOfRoom < Sight.shortestRoom ? .page : .ticket,
        text: "at the rate of the last hour the spool has no room left in "
          + Output.duration(seconds: hoursOfRoom * 3_600))
    ]
  }

  private static func conditions(
    _ source: SourceStatus, _ drops: BrokerDrops.Mark?, now: Int64
  ) -> [AlarmCondition] {
    var all: [AlarmCondition] = []
    func raise(_ kind: AlarmKind, _ severity: AlarmSeverity, pageAfter: Int64? = nil, _ text: String) {
      all.append(
        AlarmCondition(kind, subject: source.name, severity: severity, pageAfter: pageAfter, text: text))
    }
    switch source.state {
    case .refused, .takenOver, .logFailed:
      raise(
        .source, .ticket, pageAfter: sourcePatience, "\(source.place): \(source.plainFault ?? source.state.rawValue)")
    case .connecting, .connected, .waiting, .parked, .stopped:
      if source.state != .connected, let fault = source.plainFault {
        raise(.source, .ticket, pageAfter: sourcePatience, "\(source.place): \(fault)")
      } else if let last = source.lastOversized, now - last < oversizeMemory {
        raise(
          .source, .ticket,
          "\(source.place): since the start, \(Output.count(source.oversized, "message")) larger than max_packet came, "
            + "acknowledged and not taken: lost; raise max_packet, or set message_size_limit at the broker")
      }
    }
    for (filter, reason) in source.refusedFilters.sorted(by: { $0.key < $1.key }) {
      raise(.subscription, .page, "\(source.name): \(filter): \(reason)")
    }
    for filter in source.weakFilters {
      raise(.subscription, .ticket, "\(source.name): the broker grants \(filter) at QoS 0 only")
    }
    // Whose they were nobody says: no reason to wake somebody, and none to keep silent.
    if let text = drops?.text { raise(.droppedByBroker, .ticket, "\(source.name): \(text)") }
    return all
  }

  private func pipelineConditions(_ longestWait: Int64) -> [AlarmCondition] {
    var all: [AlarmCondition] = []
    for (pipeline, expired) in expired.sorted(by: { $0.key < $1.key }) {
      all.append(
        AlarmCondition(
          .deadLetters, subject: pipeline, severity: .ticket,
          text: "\(Output.count(expired.count, "dead letter")) of pipeline \(pipeline) went before their time "
            + "(\(DeadLetterKeeping.text(expired.rules))): there are more than dead_letters.max allows; look at "
            + "'forebay dead-letters counts'"))
    }
    for pipeline in pipelines ?? [] {
      guard let age = pipeline.oldestAge, age > longestWait else { continue }
      all.append(
        AlarmCondition(
          .backlog, subject: pipeline.name, severity: .ticket,
          text: "the oldest of what pipeline \(pipeline.name) has not delivered has waited for "
            + Output.duration(age)))
    }
    return all
  }

  private var uplinkConditions: [AlarmCondition] {
    var all = (stranded ?? []).map { stranded in
      AlarmCondition(
        .uplink, subject: stranded.uplink, severity: .page,
        text: "\(Output.count(stranded.readings, "reading")) of pipeline \(stranded.book) wait for uplink "
          + "\(stranded.uplink.isEmpty ? "unknown" : stranded.uplink), which is not configured: configure it until "
          + "they are delivered")
    }
    for uplink in uplinks {
      for hold in uplink.holds {
        all.append(
          AlarmCondition(.uplink, subject: uplink.name, severity: .page, text: "\(uplink.name): \(hold.text)"))
      }
      if let outage = uplink.outage, outage.isAlarming(now: now.monotonic) {
        let cause = outage.isLocal ? "because of this machine: " : "it is tried again and again: "
        all.append(
          AlarmCondition(
            .uplink, subject: uplink.name, severity: outage.isLocal ? .page : .ticket,
            pageAfter: Sight.uplinkPatience,
            text: "\(uplink.name): nothing can be delivered, \(cause)\(outage.reason)"))
      }
    }
    return all
  }
}

extension SourceStatus {
  var place: String { "\(name) (\(address))" }

  /// The fault without `source NAME, ADDRESS: `, which intake says for its log: here the name stands beside it.
  var plainFault: String? {
    let prefix = "source \(name), \(address): "
    return fault.map { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : $0 }
  }
}
