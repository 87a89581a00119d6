internal import Synchronization
package import Telemetry

/// What a source is doing.
package enum SourceState: String, Sendable, Hashable, CaseIterable {
  /// An attempt to connect is under way.
  case connecting
  /// The broker accepted us.
  case connected
  /// Waiting for the next attempt.
  case waiting
  /// There is no room in the log: disconnected, the broker keeps the backlog.
  case parked
  /// The broker, its certificate or our settings prevent a connection; attempts go on.
  case refused
  /// Another client uses our client id; attempts go on, slowly.
  case takenOver
  /// The log failed and has not been opened again.
  case logFailed
  /// Ingest was stopped, or the source was taken out of the configuration.
  case stopped
}

/// A source as `status` shows it.
package struct SourceStatus: Sendable, Hashable {
  /// What the broker says it dropped, of all its clients' messages (`$SYS`, mosquitto only).
  package struct Dropped: Sendable, Hashable {
    package var total: Int64
    package var sinceConnected: Int64
  }

  package var name: String
  /// `host:port`.
  package var address: String
  package var state: SourceState
  /// Since when the state has held.
  package var since: Moment
  /// The last fault, for people, with its hint; nil while there was none, or none since the broker
  /// accepted the connection.
  package var fault: String?
  /// Why the log takes nothing; only while parked.
  package var parkedFor: String?
  /// The broker has answered for every configured filter: what is published from now on arrives here.
  package var isSubscribed = false
  /// Configured filters that the broker refused, with its reason.
  package var refusedFilters: [String: String] = [:]
  /// Configured filters that the broker grants at QoS 0 only: messages can be lost on the way to us.
  package var weakFilters: [String] = []
  /// Messages committed.
  package var messages: Int64 = 0
  /// When the last of them was committed, monotonic nanoseconds; nil while there was none since the start.
  package var lastMessage: Int64?
  /// Payload bytes committed.
  package var bytes: Int64 = 0
  /// Groups with at least one message of this source.
  package var groups: Int64 = 0
  /// Groups, of any source, that ended because a broker awaited acknowledgements.
  package var groupsEndedByWindow: Int64 = 0
  /// Groups, of any source, that ended by linger.
  package var groupsEndedByLinger: Int64 = 0
  /// Accepted connections after the first.
  package var reconnects: Int64 = 0
  /// Retained messages acknowledged and not taken, by rule.
  package var ignoredRetained: Int64 = 0
  /// Messages acknowledged and not taken because they were larger than the maximum packet size
  /// (MQTT 3.1.1 brokers do not know our limit, nor need an MQTT 5 broker heed it).
  package var oversized: Int64 = 0
  /// When the last of them came, monotonic nanoseconds.
  package var lastOversized: Int64?
  /// Messages that a broker sent again after a lost connection or a crash, recognised as committed
  /// before: acknowledged and not taken twice.
  package var redelivered: Int64 = 0
  package var droppedByBroker: Dropped?
  /// The password on disk is refused, and the one before it still works: for people; nil while that is not so.
  package var refusedCredential: String?
  /// The in-flight window that was learned.
  package var window: Int?

  package init(name: String, address: String, state: SourceState, since: Moment) {
    self.name = name
    self.address = address
    self.state = state
    self.since = since
  }
}

/// Where the intake thread leaves its status for everybody to read.
final class StatusBoard: Sendable {
  private let sources = Mutex<[SourceStatus]>([])

  func publish(_ status: [SourceStatus]) { sources.withLock { $0 = status } }
  func read() -> [SourceStatus] { sources.withLock { $0 } }
}
