package import Telemetry

/// Whether the log takes more.
package enum Admission: Sendable, Hashable {
  case open
  /// No room, with the cause for people ("free disk below 1 GiB").
  case closed(reason: String)
}

/// The durable log that Ingest writes to. Called from Ingest's one thread, unless said otherwise.
package protocol MessageLog: Sendable {
  /// Commits the group durably: when this returns, the group is fsynced, and Ingest acknowledges it.
  ///
  /// - Throws: when the group is not kept for certain. No acknowledgement leaves then, the sessions are
  ///   dropped and the broker sends the messages again.
  func append(_ group: MessageGroup) throws

  /// Whether there is room for more. Asked before connecting, after each commit, and twice a second
  /// while the sessions are parked; so it must be cheap.
  func admission() -> Admission

  /// After a failed ``append(_:)``: closes, opens and verifies the store anew.
  ///
  /// - Throws: while that cannot be done; Ingest asks again, ever more slowly, and stays disconnected.
  func recover() throws

  /// The messages of a source that its broker may send again on a session that it resumes, oldest first:
  /// the last QoS 1 messages that were committed, as many as the broker may have on the way, and more
  /// where brokers do not keep to that. Called from connector threads, while nothing of the source is
  /// staged.
  /// - Parameter window: the session's receive-maximum. Messages that were sent under a larger one of
  ///   earlier must still be found, so the log remembers the largest.
  func inDoubt(source: String, window: Int) throws -> [InDoubtMessage]

  /// The broker has lost the session of a source: nothing that was committed so far is sent again, and
  /// ``inDoubt(source:window:)`` must not name it any more, also after a restart.
  func forgetInDoubt(source: String) throws
}

/// What is known of a filter that was subscribed in a session.
package enum SubscriptionState: String, Sendable, Hashable, CaseIterable {
  /// The broker acknowledged it at QoS 1.
  case held
  /// It was subscribed before, and whether the broker still holds it is not certain: the broker lost
  /// the session, granted less than QoS 1, or is being told to end it.
  case uncertain
}

/// What must be remembered of a persistent session beside what the broker keeps. Called from
/// several threads.
package protocol SessionStore: Sendable {
  /// The client id of a source: unique among all boxes, drawn once, kept with the state, and never
  /// derived from the host name, which clones share.
  func clientID(source: String) throws -> String

  /// The filters as last stored by ``setSubscribedFilters(_:source:)``; empty for a new source.
  func subscribedFilters(source: String) throws -> [String: SubscriptionState]

  /// Replaces the stored filters of a source, durably.
  func setSubscribedFilters(_ filters: [String: SubscriptionState], source: String) throws
}
