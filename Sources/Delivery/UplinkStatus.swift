package import Telemetry

/// Something that delivery waits for a person to mend. Each is an alarm.
package struct DeliveryHold: Sendable, Hashable {
  package enum Scope: Sendable, Hashable {
    case uplink
    case pipeline(String)
    case batch(BatchIdentity)
  }

  package enum Cause: String, Sendable, Hashable, CaseIterable {
    case credentials
    case unknownUpstream = "unknown-upstream"
    /// Nothing of the pipeline has been accepted through several refusals.
    case refusals
    case identityConflict = "identity-conflict"
    /// A batch had to be split, and its copy in the outbox is not what was sealed.
    case damagedBatch = "damaged-batch"
  }

  package var scope: Scope
  package var cause: Cause
  /// For people: what the upstream answered last.
  package var reason: String
  /// Monotonic nanoseconds.
  package var since: Int64
  /// Monotonic nanoseconds: when it is tried again.
  package var nextAttempt: Int64
}

/// Attempts of which none has succeeded since the first of them failed.
package struct DeliveryOutage: Sendable, Hashable {
  /// Monotonic nanoseconds: the first failure.
  package var since: Int64
  /// The cause lies on this machine (its disk, a secret that cannot be read): waiting will not mend it.
  package var isLocal: Bool
  /// What went wrong last, for people.
  package var reason: String

  /// Nanoseconds for which an upstream may be away before people are told: links come and go.
  package static let patience: Int64 = 60_000_000_000

  /// Whether it is an alarm.
  package func isAlarming(now: Int64) -> Bool {
    isLocal || now - since > DeliveryOutage.patience
  }
}

/// What an uplink is doing.
package struct UplinkStatus: Sendable, Hashable {
  package enum State: String, Sendable, Hashable, CaseIterable {
    /// Nothing waits.
    case idle
    /// What waits is being sent.
    case delivering
    /// The last attempts failed, or a probe shows whether the upstream is back: it is tried again and again.
    case retrying
    /// Waits for a person: ``holds`` say what for. Single probes, slowly.
    case held
    /// An operator has stopped it.
    case paused
  }

  package var name: String
  package var state: State = .idle
  package var attempts: Int64 = 0
  /// How often each kind of answer came.
  package var answers: [Answer.Kind: Int64] = [:]
  package var batchesDelivered: Int64 = 0
  package var readingsDelivered: Int64 = 0
  package var readingsSetAside: Int64 = 0
  package var splits: Int64 = 0
  /// Bytes of bodies, as compressed, that went out: to a connection that was open, or into a file.
  package var bytesSent: Int64 = 0
  package var inFlight: Int = 0
  /// What went wrong last, for people; nil after a success.
  package var lastError: String?
  /// Nanoseconds until the next attempt that is already planned; nil when there is none.
  package var nextAttemptIn: Int64?
  /// Nil while attempts succeed and while nothing waits.
  package var outage: DeliveryOutage?
  package var holds: [DeliveryHold] = []
  /// ``Uplink/refusedCredential``
  package var refusedCredential: String?

  package init(name: String) { self.name = name }
}
