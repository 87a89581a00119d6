internal import Status

/// What `forebay status` shows: one document, the same for people and for programs. Version 1; fields
/// are added, never renamed or removed, within a version. docs/status.md describes every one.
struct StatusReport: Codable, Sendable {
  struct Source: Codable, Sendable {
    var name: String
    /// ``SourceState``
    var state: String
    /// The broker has answered for every filter: what is published from now on arrives here.
    var subscribed = false
    var detail: String?
    // Since the daemon started:
    var messages: Int64
    var bytes: Int64
    var groups: Int64
    var reconnects: Int64
    /// Messages that the broker sent again and that were recognised: acknowledged, not taken twice.
    var redelivered: Int64 = 0
    /// Messages that the broker says it has dropped since it started, for whomever; nil when it does not say.
    var droppedByBroker: Int64?
    /// Seconds since the last message was committed; nil while there was none since the start, and from a daemon that
    /// does not say.
    var lastMessageSeconds: Double?
  }

  struct Spool: Codable, Sendable {
    var directory: String
    var usedBytes: Int64
    var maximumBytes: Int64
    var freeBytes: Int64
    var minimumFreeBytes: Int64
    /// Why nothing is taken in; nil when all is well.
    var parked: String?
    var log: String
    /// The offset that the next message gets.
    var nextOffset: Int64
    /// Messages that the log ever took.
    var received: Int64
  }

  struct Pipeline: Codable, Sendable {
    var name: String
    var version: String
    /// True: dropped from the configuration, sealing its backlog.
    var draining: Bool
    /// Messages in the log that it has not read.
    var backlog: Int64
    /// Seconds since the first of them was received; nil: from a daemon that does not say, as in those below.
    var backlogSeconds: Double?
    /// Seconds since the oldest message was received of which readings wait, anywhere between the log and the
    /// upstream; 0 when nothing waits.
    var freshnessSeconds: Double?
    var openReadings: Int
    var outboxBatches: Int64
    var outboxReadings: Int64
    /// Of bodies, as compressed.
    var outboxBytes: Int64?
    /// Seconds since the oldest batch in the outbox was sealed; nil when it is empty.
    var oldestOutboxSeconds: Double?
    // The ledger: since the pipeline began, over all restarts.
    var decoded: Int64
    var unmatched: Int64
    var rejected: Int64
    var damaged: Int64
    var produced: Int64
    var duplicate: Int64 = 0
    var filtered: Int64 = 0
    var refused: Int64 = 0
    var emitted: Int64 = 0
    var late: Int64 = 0
    var absorbed: Int64 = 0
    var delivered: Int64
    var deadLetters: Int64
    /// Of those that there are, as they count against `dead_letters.max`.
    var deadLetterBytes: Int64 = 0
    /// Those that have gone because of `dead_letters.keep` or `dead_letters.max`.
    var deadLettersExpired: Int64 = 0
    // What its stages have seen (StageReport.swift); nil where it has no such stage, or is not running.
    var expectations: [ExpectationCount]?
    var sequence: SequenceCounts?
    var drift: DriftCounts?
    var windows: WindowCounts?
    /// Seconds that its next message waits at most for the wall clock to be synchronised; nil when none does.
    var heldSeconds: Double?
  }

  struct Uplink: Codable, Sendable {
    var name: String
    /// `idle`, `delivering`, `retrying` or `held`.
    var state: String
    // Since the daemon started:
    var attempts: Int64
    var answers: [String: Int64]
    var batchesDelivered: Int64
    var readingsDelivered: Int64
    /// Bytes of bodies, as compressed, that went out, those of attempts that failed included.
    var bytesSent: Int64
    var inFlight: Int
    var lastError: String?
    var nextAttemptSeconds: Double?
    /// Seconds since the first of the failures that no success has ended; nil when there are none.
    var failingSeconds: Double?
    var holds: [String]
  }

  struct Alarm: Codable, Sendable {
    var kind: String
    var text: String
    // Nil: from a daemon that says nothing of it.
    /// What it is about, with the kind its identity; empty where there is one of its kind.
    var subject: String?
    /// `ticket` or `page`.
    var severity: AlarmSeverity?
    /// RFC 3339.
    var since: String?
    var runbook: String?

    /// Its kind and what it is about, where it is about one of several: `uplink central`.
    var name: String { subject.map { $0.isEmpty ? kind : "\(kind) \($0)" } ?? kind }

    /// Its text beside the name, which need not say again what it is about.
    var textBesideName: String {
      guard let subject, !subject.isEmpty, text.hasPrefix(subject + ": ") else { return text }
      return String(text.dropFirst(subject.count + 2))
    }
  }

  /// A file with a certificate, a key, a password or a token.
  struct Credential: Codable, Sendable {
    /// `source floor`, `uplink central`, `status`, `webhook` or `telemetry`.
    var holder: String
    /// ``CredentialFile/Role``
    var role: String
    var path: String
    /// ``CredentialState/Standing``
    var state: String
    /// RFC 3339: when it is no longer of use; nil where it does not run out, or cannot be read.
    var validUntil: String?
    /// Until then; below zero afterwards.
    var remainingSeconds: Double?

    /// - Parameter now: wall nanoseconds.
    init(_ state: CredentialState, now: Int64) {
      holder = state.file.holder
      role = state.file.role.rawValue
      path = state.file.path
      self.state = state.standing.rawValue
      validUntil = state.end.map(CredentialState.date)
      remainingSeconds = state.end.map { Double($0) - Double(now / 1_000_000_000) }
    }
  }

  var version = 1
  var gateway: String
  var site: String?
  var software: String
  var uptimeSeconds: Double
  var clockSynchronised: Bool
  /// Where the HTTP API listens, such as `127.0.0.1:8420`; nil where it does not.
  var listen: String?
  var residentBytes: Int64
  /// Bytes that the kernel has booked to the daemon for writing to disk since it started (proc(5), io); nil
  /// when the kernel does not say.
  var writtenBytes: Int64?
  var sources: [Source]
  var spool: Spool
  var pipelines: [Pipeline]
  /// Nil: from a daemon that knows none.
  var replays: [ReplayReport]?
  var uplinks: [Uplink]
  var alarms: [Alarm]
  /// Nil: from a daemon that keeps none.
  var objectives: [ObjectiveReport]?
  /// Nil: from a daemon that does not say.
  var credentials: [Credential]?
}
