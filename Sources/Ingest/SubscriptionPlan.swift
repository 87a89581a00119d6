/// Whether a subscription asks for the messages that the broker has retained (MQTT 5.0, section
/// 3.8.3.1); the raw values are those of the Subscription Options.
package enum RetainHandling: UInt8, Sendable, Hashable {
  case ifNew = 0x10
  case never = 0x20
}

/// What to tell a broker so that its session holds the filters that are wanted. Pure.
///
/// A persistent session keeps filters that the configuration has dropped, and subscribing anew resends
/// retained messages. So only the difference is sent, unless the broker has lost the session.
package struct SubscriptionPlan: Sendable, Hashable {
  package struct Subscription: Sendable, Hashable {
    package var filter: String
    package var retain: RetainHandling

    package init(filter: String, retain: RetainHandling) {
      self.filter = filter
      self.retain = retain
    }
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
  package init(
    wanted: [String], known: [String: SubscriptionState], sessionPresent: Bool,
    retained: SourceSettings.RetainedRule
  ) {
    before = known
    if !sessionPresent {
      for filter in known.keys { before[filter] = .uncertain }
    }
    for filter in wanted where before[filter] != .held {
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
