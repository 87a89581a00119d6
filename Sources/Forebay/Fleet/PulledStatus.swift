internal import FoundationEssentials
internal import Telemetry

/// What a fleet knows of a gateway: the figures of its `GET /v1/status` that tell whether it is well (docs/api.md).
///
/// A fleet holds gateways of many versions: members that are not known here are passed over, and only the version,
/// the gateway's id and its state must be there. What is there must have the right type.
struct PulledStatus: Sendable, Hashable {
  struct Alarm: Sendable, Hashable {
    var kind: String
    var subject: String
    var severity: String
    var text: String
    var since: String?
    var runbook: String?
  }

  struct Objective: Sendable, Hashable {
    var name: String
    var state: String
    /// What is left of the error budget, 1: all; below 0: overdrawn.
    var budgetRemaining: Double?
  }

  /// The words of the document.
  enum State: String, Sendable {
    case ok, warning, critical
  }

  var gateway: String
  var site: String?
  var software: String?
  var state: State
  var uptimeSeconds: Double?
  var clockSynchronised: Bool?
  /// Of each severity, whatever the gateway claims: they are added up.
  static let mostAlarms = 1_000_000

  var pages = 0
  var tickets = 0
  /// The worst first, at most ``mostListed``.
  var alarms: [Alarm] = []
  /// Those of which the budget burns or is spent, at most ``mostListed``.
  var objectives: [Objective] = []
  var freshnessSeconds: Double?
  var messagesReceived: Int64?
  var messagesPerSecond: Double?
  var readingsDelivered: Int64?
  var backlogMessages: Int64?
  var outboxReadings: Int64?
  var outboxOldestSeconds: Double?
  var deadLetters: Int64?
  var isParked = false

  /// Entries of a list that are kept: what a person reads of one gateway among thousands.
  static let mostListed = 3
  /// Characters of a text that are kept: as many as the document has at most.
  private static let longestText = 200
}

/// Why a body is no status of a gateway.
struct InvalidStatus: Error, Sendable, Hashable {
  var reason: String
}

extension PulledStatus {
  /// - Parameter body: what `/v1/status` answered.
  init(body: [UInt8]) throws(InvalidStatus) {
    let document: Document
    do {
      document = try JSONDecoder().decode(Document.self, from: Data(body))
    } catch let error as DecodingError {
      throw InvalidStatus(reason: PulledStatus.words(error))
    } catch {
      throw InvalidStatus(reason: "the answer cannot be read as JSON")
    }
    guard document.version == 1 else {
      throw InvalidStatus(reason: "the status has version \(document.version), expected 1")
    }
    guard BatchIdentity.isName(document.gateway) else {
      throw InvalidStatus(reason: "the status names no gateway: 'gateway' is no name")
    }
    guard let state = State(rawValue: document.state) else {
      throw InvalidStatus(reason: "the state '\(Output.plain(document.state))' is not known")
    }
    gateway = document.gateway
    self.state = state
    site = document.site.flatMap { BatchIdentity.isName($0) ? $0 : nil }
    software = document.software.map(PulledStatus.cut)
    uptimeSeconds = document.uptimeSeconds
    clockSynchronised = document.clockSynchronised
    pages = min(max(0, document.alarms?.page ?? 0), PulledStatus.mostAlarms)
    tickets = min(max(0, document.alarms?.ticket ?? 0), PulledStatus.mostAlarms)
    alarms = (document.alarms?.list ?? []).prefix(PulledStatus.mostListed).map {
      Alarm(
        kind: PulledStatus.cut($0.kind), subject: PulledStatus.cut($0.subject ?? ""),
        severity: PulledStatus.cut($0.severity ?? ""), text: PulledStatus.cut($0.text ?? ""),
        since: $0.since.map(PulledStatus.cut), runbook: $0.runbook.map(PulledStatus.cut))
    }
    objectives = (document.objectives ?? []).filter { $0.state != "ok" }.prefix(PulledStatus.mostListed).map {
      Objective(
        name: PulledStatus.cut($0.name), state: PulledStatus.cut($0.state), budgetRemaining: $0.budgetRemaining)
    }
    freshnessSeconds = document.freshnessSeconds
    messagesReceived = document.messages?.received
    messagesPerSecond = document.messages?.perSecond
    readingsDelivered = document.readings?.delivered
    backlogMessages = document.backlog?.messages
    outboxReadings = document.outbox?.readings
    outboxOldestSeconds = document.outbox?.oldestSeconds
    deadLetters = document.deadLetters?.count
    isParked = document.disk?.parked ?? false
  }

  private static func cut(_ text: String) -> String { String(text.prefix(longestText)) }

  private static func words(_ error: DecodingError) -> String {
    func place(_ context: DecodingError.Context, _ last: (any CodingKey)? = nil) -> String {
      let path = context.codingPath + (last.map { [$0] } ?? [])
      let keys = path.map { key in key.intValue.map { "[\($0)]" } ?? key.stringValue }
      return Output.plain(keys.joined(separator: "."))
    }
    switch error {
    case .keyNotFound(let key, let context): return "the status lacks '\(place(context, key))'"
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      let found = place(context)
      return found.isEmpty ? "the status is no JSON object" : "'\(found)' of the status has the wrong type"
    case .dataCorrupted(let context):
      let found = place(context)
      return found.isEmpty ? "the answer cannot be read as JSON" : "'\(found)' of the status cannot be read"
    @unknown default: return "the answer is not a status"
    }
  }

  /// The members that are read.
  private struct Document: Decodable {
    struct Alarms: Decodable {
      struct Entry: Decodable {
        var kind: String
        var subject: String?
        var severity: String?
        var text: String?
        var since: String?
        var runbook: String?
      }
      var page: Int?
      var ticket: Int?
      var list: [Entry]?
    }
    struct Objective: Decodable {
      var name: String
      var state: String
      var budgetRemaining: Double?
    }
    struct Messages: Decodable {
      var received: Int64?
      var perSecond: Double?
    }
    struct Readings: Decodable { var delivered: Int64? }
    struct Backlog: Decodable { var messages: Int64? }
    struct Outbox: Decodable {
      var readings: Int64?
      var oldestSeconds: Double?
    }
    struct DeadLetters: Decodable { var count: Int64? }
    struct Disk: Decodable { var parked: Bool? }

    var version: Int
    var gateway: String
    var state: String
    var site: String?
    var software: String?
    var uptimeSeconds: Double?
    var clockSynchronised: Bool?
    var alarms: Alarms?
    var objectives: [Objective]?
    var freshnessSeconds: Double?
    var messages: Messages?
    var readings: Readings?
    var backlog: Backlog?
    var outbox: Outbox?
    var deadLetters: DeadLetters?
    var disk: Disk?
  }
}
