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

/// What an uplink is doing.
package struct UplinkStatus: Sendable, Hashable {
  package enum State: String, Sendable, Hashable, CaseIterable {
    case closed
    /// The circuit is open: nothing is sent until the next probe.
    case open
    /// A single probe is on its way, or due.
    case halfOpen = "half-open"
    /// The upstream refuses the credentials or is not the one we know: single probes, slowly.
    case held
  }

  package var name: String
  package var state: State = .closed
  package var attempts: Int64 = 0
  /// How often each kind of answer came.
  package var answers: [Answer.Kind: Int64] = [:]
  package var batchesDelivered: Int64 = 0
  package var readingsDelivered: Int64 = 0
  package var readingsSetAside: Int64 = 0
  package var splits: Int64 = 0
  /// Bytes of bodies, as compressed, of every attempt.
  package var bytesSent: Int64 = 0
  package var inFlight: Int = 0
  /// What went wrong last, for people; nil after a success.
  package var lastError: String?
  /// Nanoseconds until the next attempt that is already planned; nil when there is none.
  package var nextAttemptIn: Int64?
  package var holds: [DeliveryHold] = []

  package init(name: String) { self.name = name }
}
