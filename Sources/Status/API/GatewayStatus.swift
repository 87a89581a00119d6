/// A gateway in one document: what a fleet's puller needs in one request, always below ``maximumBytes``. Version 1;
/// fields are added, never renamed or removed, within a version. docs/api.md describes every one.
///
/// Lists hold the worst first and are cut, while `total` says how many there are.
package struct GatewayStatus: Sendable, Hashable, Codable {
  /// Bytes of the document, at most.
  package static let maximumBytes = 8000

  /// The worst of its alarms.
  package enum State: String, Sendable, Hashable, Codable, CaseIterable {
    /// No alarm.
    case ok
    /// Tickets only.
    case warning
    /// A page.
    case critical
  }

  package struct Alarms: Sendable, Hashable, Codable {
    package struct Entry: Sendable, Hashable, Codable {
      package var kind: String
      package var subject: String
      package var severity: AlarmSeverity
      package var text: String
      /// RFC 3339; nil where nobody knows.
      package var since: String?
      package var runbook: String?

      package init(
        kind: String, subject: String, severity: AlarmSeverity, text: String, since: String?, runbook: String?
      ) {
        self.kind = kind
        self.subject = subject
        self.severity = severity
        self.text = text
        self.since = since
        self.runbook = runbook
      }
    }

    package var page: Int64
    package var ticket: Int64
    package var list: [Entry]

    package init(_ list: [Entry]) {
      page = Int64(list.count { $0.severity == .page })
      ticket = Int64(list.count) - page
      self.list = list
    }
  }

  package struct Objective: Sendable, Hashable, Codable {
    package var name: String
    /// `ok`, `burning` or `spent`.
    package var state: String
    /// Shares, from 0 to 1.
    package var target: Double
    package var measured: Double?
    package var budgetRemaining: Double?
    package var burnRate1h: Double?
    package var burnRate6h: Double?

    package init(
      name: String, state: String, target: Double, measured: Double?, budgetRemaining: Double?, burnRate1h: Double?,
      burnRate6h: Double?
    ) {
      self.name = name
      self.state = state
      self.target = target
      self.measured = measured
      self.budgetRemaining = budgetRemaining
      self.burnRate1h = burnRate1h
      self.burnRate6h = burnRate6h
    }
  }

  package struct Messages: Sendable, Hashable, Codable {
    /// That the log ever took.
    package var received: Int64
    /// Since the question before this one, or over the last seconds; nil at the first one.
    package var perSecond: Double?

    package init(received: Int64, perSecond: Double?) {
      self.received = received
      self.perSecond = perSecond
    }
  }

  /// Since the pipelines began, over all restarts.
  package struct Readings: Sendable, Hashable, Codable {
    package var delivered: Int64
    package var duplicate: Int64
    package var refused: Int64
    package var late: Int64

    package init(delivered: Int64, duplicate: Int64, refused: Int64, late: Int64) {
      self.delivered = delivered
      self.duplicate = duplicate
      self.refused = refused
      self.late = late
    }
  }

  /// Received and not read: of the pipeline that is furthest behind.
  package struct Backlog: Sendable, Hashable, Codable {
    package var messages: Int64
    /// Since the oldest of them was received; nil where nobody knows.
    package var seconds: Double?

    package init(messages: Int64, seconds: Double?) {
      self.messages = messages
      self.seconds = seconds
    }
  }

  /// Sealed and not delivered.
  package struct Outbox: Sendable, Hashable, Codable {
    package var batches: Int64
    package var readings: Int64
    /// Compressed; nil where nobody knows.
    package var bytes: Int64?
    package var oldestSeconds: Double?

    package init(batches: Int64, readings: Int64, bytes: Int64?, oldestSeconds: Double?) {
      self.batches = batches
      self.readings = readings
      self.bytes = bytes
      self.oldestSeconds = oldestSeconds
    }
  }

  package struct DeadLetters: Sendable, Hashable, Codable {
    /// Those that there are.
    package var count: Int64
    package var bytes: Int64
    /// Those that have gone because of age or bytes.
    package var expired: Int64

    package init(count: Int64, bytes: Int64, expired: Int64) {
      self.count = count
      self.bytes = bytes
      self.expired = expired
    }
  }

  package struct Disk: Sendable, Hashable, Codable {
    package var usedBytes: Int64
    package var maximumBytes: Int64
    package var freeBytes: Int64
    package var minimumFreeBytes: Int64
    /// Nothing is taken in.
    package var parked: Bool
    /// To disk, since the daemon started; nil where the kernel does not say.
    package var writtenBytes: Int64?

    package init(
      usedBytes: Int64, maximumBytes: Int64, freeBytes: Int64, minimumFreeBytes: Int64, parked: Bool,
      writtenBytes: Int64?
    ) {
      self.usedBytes = usedBytes
      self.maximumBytes = maximumBytes
      self.freeBytes = freeBytes
      self.minimumFreeBytes = minimumFreeBytes
      self.parked = parked
      self.writtenBytes = writtenBytes
    }
  }

  /// What the data costs, since the daemon started.
  package struct Cost: Sendable, Hashable, Codable {
    package var payloadBytes: Int64
    package var writtenBytes: Int64?
    package var sentBytes: Int64

    package init(payloadBytes: Int64, writtenBytes: Int64?, sentBytes: Int64) {
      self.payloadBytes = payloadBytes
      self.writtenBytes = writtenBytes
      self.sentBytes = sentBytes
    }
  }

  package struct Process: Sendable, Hashable, Codable {
    package var residentBytes: Int64
    package var cpuSeconds: Double?

    package init(residentBytes: Int64, cpuSeconds: Double?) {
      self.residentBytes = residentBytes
      self.cpuSeconds = cpuSeconds
    }
  }

  package struct Source: Sendable, Hashable, Codable {
    package var name: String
    package var state: String
    package var messages: Int64
    /// Since the last message; nil while there was none since the daemon started.
    package var lastMessageSeconds: Double?

    package init(name: String, state: String, messages: Int64, lastMessageSeconds: Double? = nil) {
      self.name = name
      self.state = state
      self.messages = messages
      self.lastMessageSeconds = lastMessageSeconds
    }
  }

  package struct Pipeline: Sendable, Hashable, Codable {
    package var name: String
    package var backlog: Int64
    package var outboxReadings: Int64
    package var oldestSeconds: Double?
    package var delivered: Int64
    package var deadLetters: Int64
    package var freshnessSeconds: Double?

    package init(
      name: String, backlog: Int64, outboxReadings: Int64, oldestSeconds: Double?, delivered: Int64,
      deadLetters: Int64, freshnessSeconds: Double?
    ) {
      self.name = name
      self.backlog = backlog
      self.outboxReadings = outboxReadings
      self.oldestSeconds = oldestSeconds
      self.delivered = delivered
      self.deadLetters = deadLetters
      self.freshnessSeconds = freshnessSeconds
    }
  }

  package struct Uplink: Sendable, Hashable, Codable {
    package var name: String
    package var state: String
    /// Since the first of the failures that no success has ended; nil when there are none.
    package var failingSeconds: Double?
    package var delivered: Int64

    package init(name: String, state: String, failingSeconds: Double?, delivered: Int64) {
      self.name = name
      self.state = state
      self.failingSeconds = failingSeconds
      self.delivered = delivered
    }
  }

  package struct Listing<Element: Sendable & Hashable & Codable>: Sendable, Hashable, Codable {
    package var total: Int64
    package var list: [Element]

    /// - Parameter list: the worst first.
    package init(_ list: [Element]) {
      total = Int64(list.count)
      self.list = list
    }
  }

  package var version = 1
  package var gateway: String
  package var site: String?
  package var software: String
  /// RFC 3339.
  package var time: String
  package var state: State
  /// What was measured, in one sentence for people: the same words everywhere. Nil from a daemon that has none.
  package var headline: String?
  package var uptimeSeconds: Double
  package var clockSynchronised: Bool
  package var alarms: Alarms
  package var objectives: [Objective]
  /// Of the pipeline whose data is oldest; nil where nobody knows.
  package var freshnessSeconds: Double?
  package var messages: Messages
  package var readings: Readings
  package var backlog: Backlog
  package var outbox: Outbox
  package var deadLetters: DeadLetters
  package var disk: Disk
  package var cost: Cost
  package var process: Process
  package var sources: Listing<Source>
  package var pipelines: Listing<Pipeline>
  package var uplinks: Listing<Uplink>

  package init(
    gateway: String, site: String?, software: String, time: String, uptimeSeconds: Double, clockSynchronised: Bool,
    alarms: Alarms, objectives: [Objective], freshnessSeconds: Double?, messages: Messages, readings: Readings,
    backlog: Backlog, outbox: Outbox, deadLetters: DeadLetters, disk: Disk, cost: Cost, process: Process,
    sources: Listing<Source>, pipelines: Listing<Pipeline>, uplinks: Listing<Uplink>
  ) {
    self.gateway = gateway
    self.site = site
    self.software = software
    self.time = time
    state = alarms.page > 0 ? .critical : alarms.ticket > 0 ? .warning : .ok
    self.uptimeSeconds = uptimeSeconds
    self.clockSynchronised = clockSynchronised
    self.alarms = alarms
    self.objectives = objectives
    self.freshnessSeconds = freshnessSeconds
    self.messages = messages
    self.readings = readings
    self.backlog = backlog
    self.outbox = outbox
    self.deadLetters = deadLetters
    self.disk = disk
    self.cost = cost
    self.process = process
    self.sources = sources
    self.pipelines = pipelines
    self.uplinks = uplinks
  }
}
