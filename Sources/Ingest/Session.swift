import CMosquitto
import Logging
import Telemetry

/// One source as the intake thread knows it: where it stands, its subscriptions, and its status.
final class Session {
  enum Phase {
    /// Not connected; the next attempt is due at the instant.
    case waiting(until: Int64)
    /// A connector thread is at work.
    case connecting(attempt: UInt64)
    /// Connected, until the broker's CONNACK, which is due at the instant.
    case opening(Connection, deadline: Int64)
    case open(Connection)
    /// Nothing is attempted until the log takes messages again.
    case held
  }

  /// Filters of one SUBSCRIBE; some brokers take no more.
  private static let filtersPerPacket = 8

  var settings: SourceSettings
  let number: Int
  var phase = Phase.waiting(until: 0)
  var backoff = Backoff()
  var status: SourceStatus
  let sink: MessageSink
  /// Seconds; the broker's choice where it made one.
  var keepalive: Int
  /// When the broker expects to hear from us at the latest, with half a keepalive to spare.
  var signDue: Int64 = 0
  /// When the broker accepted the present connection.
  var acceptedAt: Int64 = 0
  /// No reading before this instant.
  var notBefore: Int64 = 0

  private let log: any MessageLog
  private let sessions: any SessionStore
  private let logger: Logger
  private var known: [String: SubscriptionState] = [:]
  private var subscribing: [Int32: [SubscriptionPlan.Subscription]] = [:]
  private var unsubscribing: [Int32: [String]] = [:]
  /// The filters changed while answers were outstanding.
  private var isOutdated = false
  private var wasAccepted = false
  private var droppedAtConnect: Int64?
  /// The broker has lost the session, and the log has not been told yet.
  private var hasToForget = false
  /// The CONNECT of the present connection is out, and nothing has answered it.
  private var isUnanswered = false
  /// An earlier CONNECT was never answered: the session may be a new one, without filters (MQTT 3.1.1).
  private(set) var hasLostAnswer = false
  /// With which the broker accepted us last. It stays in memory alone.
  private var acceptedPassword: Secret?
  /// What the next attempt shows instead of what the file has. A password is changed at two places, and whoever is
  /// quicker here than at the broker is not to lose the session over it.
  private(set) var oldPassword: Secret?

  init(
    _ settings: SourceSettings, number: Int, staging: Staging, log: any MessageLog,
    sessions: any SessionStore, logger: Logger, now: Moment
  ) {
    self.settings = settings
    self.number = number
    self.log = log
    self.sessions = sessions
    keepalive = settings.keepalive
    var logger = logger
    logger[metadataKey: "source"] = "\(settings.name)"
    self.logger = logger
    status = SourceStatus(
      name: settings.name, address: "\(settings.host):\(settings.port)", state: .waiting, since: now)
    sink = Session.sink(settings, staging, number)
  }

  private static func sink(
    _ settings: SourceSettings, _ staging: Staging, _ number: Int
  ) -> MessageSink {
    let sink = MessageSink(staging: staging, source: number, name: settings.name)
    configure(sink, settings)
    return sink
  }

  private static func configure(_ sink: MessageSink, _ settings: SourceSettings) {
    sink.ignoresRetained = settings.retained == .ignore
    sink.takesDroppedTopic = settings.filters.contains { filter in
      var matches = false
      mosquitto_topic_matches_sub(filter, Connection.droppedTopic, &matches)
      return matches
    }
  }

  var connection: Connection? {
    switch phase {
    case .opening(let connection, _), .open(let connection): connection
    default: nil
    }
  }

  func enter(_ state: SourceState, at now: Moment) {
    guard status.state != state else { return }
    status.state = state
    status.since = now
    if state != .connected { status.isSubscribed = false }
    if state != .parked { status.parkedFor = nil }
  }

  /// An attempt was refused: the next one shows the other password, where there are two.
  func turnPassword(after fault: SourceFault, of connection: Connection?) {
    if case .refused = fault { isUnanswered = false }
    // What was refused before may be in order now.
    guard fault.isRefusalOfPassword, let connection else {
      oldPassword = nil
      return
    }
    if connection.password == acceptedPassword {
      // It works no more: nobody is to be told that it does, and it is not shown again.
      acceptedPassword = nil
      status.refusedCredential = nil
    }
    oldPassword = acceptedPassword
  }

  /// The next attempt shows what the file has.
  func forgetRefusal() { oldPassword = nil }

  /// Everything was written.
  func wrote(at now: Int64) {
    if case .opening = phase { isUnanswered = true }
    // A keepalive of 0 switches the mechanism off (MQTT 5.0, section 3.1.2.10).
    signDue = keepalive == 0 ? .max : now + Int64(keepalive) * IntakeLoop.second
  }

  /// A connector thread has connected.
  func adopt(_ connection: Connection, known: [String: SubscriptionState], deadline: Int64) {
    noteLostAnswer()
    sink.retainedKnown = []
    connection.sink = sink
    self.known = known
    subscribing = [:]
    unsubscribing = [:]
    isOutdated = false
    notBefore = 0
    phase = .opening(connection, deadline: deadline)
  }

  /// No answer comes any more to the CONNECT that is out, if one is.
  private func noteLostAnswer() {
    if isUnanswered { hasLostAnswer = true }
    isUnanswered = false
  }

  /// This one takes the place of another at the same source, whose client id it has.
  func follow(_ other: Session) {
    other.noteLostAnswer()
    hasLostAnswer = other.hasLostAnswer
  }

  /// Settings that differ in nothing but filters and the rule for retained messages.
  func change(to settings: SourceSettings) throws(SourceFault) {
    self.settings = settings
    Session.configure(sink, settings)
    if case .open(let connection) = phase { try synchronise(connection, sessionPresent: true) }
  }

  /// Deals with what the library reported while reading.
  /// - Returns: whether the status changed.
  func process(
    _ events: Connection.Events, of connection: Connection, at now: Int64, moment: () -> Moment
  ) throws(SourceFault) -> Bool {
    var changed = false
    if let acceptance = events.acceptance {
      try accepted(acceptance, connection, at: now, moment: moment())
      changed = true
    }
    for (mid, codes) in events.subscribed {
      guard let filters = subscribing.removeValue(forKey: mid) else { continue }
      for (index, subscription) in filters.enumerated() {
        acknowledged(subscription, code: index < codes.count ? codes[index] : 0x80)
      }
      try store()
      changed = true
    }
    for mid in events.unsubscribed {
      guard let filters = unsubscribing.removeValue(forKey: mid) else { continue }
      for filter in filters where !settings.filters.contains(filter) { known[filter] = nil }
      try store()
    }
    if isOutdated, subscribing.isEmpty, unsubscribing.isEmpty {
      isOutdated = false
      try synchronise(connection, sessionPresent: true)
    }
    let isSubscribed = status.state == .connected && subscribing.isEmpty && !isOutdated
    if isSubscribed != status.isSubscribed {
      status.isSubscribed = isSubscribed
      changed = true
    }
    if let total = events.droppedByBroker {
      noteDropped(total)
      changed = true
    }
    return changed
  }

  /// Counts what was acknowledged and not taken, whatever has become of the connection.
  /// - Returns: whether the status changed.
  func count(_ events: Connection.Events, at now: Int64) -> Bool {
    status.redelivered += events.redelivered
    if events.isUnannounced {
      logger.warning(
        "the MQTT library's log is not understood: what the broker sends again cannot be told and is taken twice")
    }
    status.ignoredRetained += events.ignoredRetained
    if events.oversized > 0 {
      status.oversized += events.oversized
      status.lastOversized = now
      logger.error(
        "messages above the maximum packet size were acknowledged and not taken",
        metadata: [
          "messages": "\(events.oversized)", "maximum_packet_size": "\(settings.maximumPacketSize)",
        ])
    }
    return events.redelivered > 0 || events.ignoredRetained > 0 || events.oversized > 0
  }

  private func accepted(
    _ acceptance: Connection.Events.Acceptance, _ connection: Connection, at now: Int64,
    moment: Moment
  ) throws(SourceFault) {
    if !acceptance.sessionPresent, !connection.inDoubt.isEmpty { hasToForget = true }
    connection.accept()
    phase = .open(connection)
    acceptedPassword = connection.password
    status.refusedCredential = oldPassword.map { _ in
      "the broker refuses the password in \(settings.passwordFile ?? ""); the one that was there before still works and "
        + "goes on, until the next restart"
    }
    acceptedAt = now
    keepalive = acceptance.keepalive ?? settings.keepalive
    wrote(at: now)
    if wasAccepted { status.reconnects += 1 }
    wasAccepted = true
    status.fault = nil
    status.refusedFilters = [:]
    status.weakFilters = []
    enter(.connected, at: moment)
    logger.info(
      "connected to the broker",
      metadata: ["address": "\(status.address)", "session_present": "\(acceptance.sessionPresent)"])
    if hasToForget { try forget() }
    droppedAtConnect = nil
    isUnanswered = false
    try synchronise(
      connection, sessionPresent: acceptance.sessionPresent,
      doubt: settings.version == .mqtt5 ? .always : hasLostAnswer ? .answerLost : .none)
    // From here on it is stored which filters are uncertain.
    hasLostAnswer = false
    if !sink.takesDroppedTopic {
      // Whether the broker permits or even has it does not matter: the answer is not looked at. It is
      // asked for at each connection, because the retained value is where counting begins.
      _ = try connection.subscribe([Connection.droppedTopic], qos: 0, retain: nil)
    }
  }

  /// Tells the broker what it lacks.
  private func synchronise(
    _ connection: Connection, sessionPresent: Bool, doubt: SubscriptionPlan.Doubt = .none
  ) throws(SourceFault) {
    guard subscribing.isEmpty, unsubscribing.isEmpty else {
      isOutdated = true
      return
    }
    let plan = SubscriptionPlan(
      wanted: settings.filters, known: known, sessionPresent: sessionPresent,
      retained: settings.retained, doubt: doubt)
    if settings.version == .mqtt311, settings.retained == .once {
      sink.retainedKnown += plan.subscribe.filter { $0.retain == .never }.map(\.filter)
    }
    if plan.before != known {
      known = plan.before
      try store()
    }
    status.refusedFilters = status.refusedFilters.filter { settings.filters.contains($0.key) }
    status.weakFilters.removeAll { !settings.filters.contains($0) }
    for retain in [RetainHandling.ifNew, .never] {
      var rest = plan.subscribe.filter { $0.retain == retain }[...]
      while !rest.isEmpty {
        let chunk = Array(rest.prefix(Session.filtersPerPacket))
        rest = rest.dropFirst(chunk.count)
        let mid = try connection.subscribe(chunk.map(\.filter), qos: 1, retain: retain)
        subscribing[mid] = chunk
      }
    }
    // The old filters go right after the new ones have come, without waiting: where they overlap, the
    // broker sends some messages twice in between, and the shorter that is the better.
    var rest = plan.unsubscribe[...]
    while !rest.isEmpty {
      let chunk = Array(rest.prefix(Session.filtersPerPacket))
      rest = rest.dropFirst(chunk.count)
      unsubscribing[try connection.unsubscribe(chunk)] = chunk
    }
  }

  private func acknowledged(_ subscription: SubscriptionPlan.Subscription, code: Int32) {
    let filter = subscription.filter
    status.refusedFilters[filter] = nil
    status.weakFilters.removeAll { $0 == filter }
    switch code {
    case 1, 2:
      known[filter] = .held
    case 0:
      known[filter] = .uncertain
      status.weakFilters.append(filter)
      logger.error(
        "the broker grants a filter at QoS 0 only: messages can be lost on the way; check its rules",
        metadata: ["filter": "\(filter)"])
    default:
      known[filter] = nil
      let reason = String(cString: mosquitto_reason_string(code))
      status.refusedFilters[filter] = reason
      logger.error(
        "the broker refused a filter: nothing is received for it; check its access rules",
        metadata: ["filter": "\(filter)", "reason": "\(reason)"])
    }
  }

  /// Before anything of the new session is committed: its identifiers begin again, and must not be
  /// compared with those of the old one after the next loss of the connection.
  private func forget() throws(SourceFault) {
    do {
      try log.forgetInDoubt(source: settings.name)
    } catch {
      throw .sessionStore(detail: "\(error)")
    }
    hasToForget = false
  }

  private func store() throws(SourceFault) {
    do {
      try sessions.setSubscribedFilters(known, source: settings.name)
    } catch {
      throw .sessionStore(detail: "\(error)")
    }
  }

  private func noteDropped(_ total: Int64) {
    // A counter is none below zero.
    guard total >= 0 else { return }
    // What the last connection saw says nothing of this one.
    let before = droppedAtConnect == nil ? 0 : status.droppedByBroker?.sinceConnected ?? 0
    let start = droppedAtConnect ?? total
    droppedAtConnect = start
    // A broker that was started anew counts from zero.
    let since = total >= start ? total - start : total
    status.droppedByBroker = SourceStatus.Dropped(total: total, sinceConnected: since)
    if since > before {
      logger.warning(
        "the broker dropped messages that it had acknowledged, for whichever of its clients; raise its queue limits",
        metadata: ["dropped": "\(since - before)", "since_connected": "\(since)"])
    }
  }
}
