/// Whether a subscription asks for the messages that the broker has retained (MQTT 5.0, section
/// 3.8.3.1); the raw values are those of the Subscription Options.
package enum RetainHandling: UInt8, Sendable, Hashable {
  case ifNew = 0x10
  case never = 0x20
}

/// What to tell a broker so that its session holds the filters that are wanted. Pure.
///
/// A persistent session keeps filters that the configuration has dropped, and subscribing anew resends
/// retained messages. So only the difference is sent, unless the broker has lost the session, or may have.
package struct SubscriptionPlan: Sendable, Hashable {
  package struct Subscription: Sendable, Hashable {
    package var filter: String
    package var retain: RetainHandling

    package init(filter: String, retain: RetainHandling) {
      self.filter = filter
      self.retain = retain
    }
  }

  /// A session that is present need not be the one whose filters are stored: where the broker had lost that one, a
  /// CONNECT makes another, and when its CONNACK does not reach us, the next one speaks of a session that is there,
  /// and that has no filters.
  package enum Doubt: Sendable, Hashable {
    /// It is the same connection still, or no answer is missing.
    case none
    /// A connection begins whose retain handling keeps a repeated SUBSCRIBE from doing harm (MQTT 5): every filter is
    /// asked for again.
    case always
    /// A CONNECT went out and its CONNACK did not come: filters are uncertain until the broker has answered.
    case answerLost
  }

  package var subscribe: [Subscription] = []
  package var unsubscribe: [String] = []
  /// What is to be stored before anything of the plan is sent, so that a crash in between leaves no
  /// filter that is stored as held and is not.
  package var before: [String: SubscriptionState]

  package var isEmpty: Bool { subscribe.isEmpty && unsubscribe.isEmpty }

  /// - Parameters:
  ///   - wanted: the configured filters.
  ///   - known: what is stored of the session.
  ///   - sessionPresent: whether the broker still had the session (CONNACK).
  ///   - doubt: what the session may lack of what is stored as held.
  package init(
    wanted: [String], known: [String: SubscriptionState], sessionPresent: Bool,
    retained: SourceSettings.RetainedRule, doubt: Doubt = .none
  ) {
    before = known
    if !sessionPresent || doubt == .answerLost {
      for filter in known.keys { before[filter] = .uncertain }
    }
    for filter in wanted where before[filter] != .held || doubt == .always {
      let retain: RetainHandling =
        switch retained {
        case .take: .ifNew
        case .ignore: .never
        case .once: known[filter] == nil ? .ifNew : .never
        }
      subscribe.append(Subscription(filter: filter, retain: retain))
    }
    for filter in known.keys.sorted() where !wanted.contains(filter) {
      if sessionPresent {
        unsubscribe.append(filter)
        before[filter] = .uncertain
      } else {
        before[filter] = nil
      }
    }
  }
}
