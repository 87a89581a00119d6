import CMosquitto
import Glibc
import Logging
import Telemetry

/// The intake thread: waits for sockets, timers and commands, and does what they ask for.
///
/// The one rule above all: `Connection.write` is called for a source only while `core.staged(of:)` is
/// zero for it, that is, when all it sent has been committed; `flush` and `closeAll` are the only callers.
final class IntakeLoop {
  enum Mode {
    case running
    /// The log has no room.
    case parked
    /// The log failed; the next attempt to recover it is due at the instant.
    case logFailed(until: Int64)
  }

  static let second: Int64 = 1_000_000_000
  static let millisecond: Int64 = 1_000_000
  /// From a TCP connection to the broker's CONNACK.
  static let openingTime = 15 * second
  static let longestRecoveryDelay = 5 * second
  static let admissionInterval = 500 * millisecond
  /// How long closing waits for the broker to read what was written.
  static let closingTime = 500 * millisecond

  let staging: Staging
  let log: any MessageLog
  let store: any SessionStore
  let moment: MomentSource
  let logger: Logger
  let inbox: Inbox
  let board: StatusBoard
  var sessions: [Session] = []
  var mode = Mode.running
  var random = SystemRandomNumberGenerator()
  /// Of the log's failures.
  var recovery = Backoff()
  var statusChanged = true
  private var attempts: UInt64 = 0
  private var nextAdmission: Int64 = 0
  private var nextSecond: Int64 = 0
  private var stopBy: Int64?

  init(
    group: GroupSettings, sources: [SourceSettings], log: any MessageLog,
    sessions store: any SessionStore, moment: @escaping MomentSource, logger: Logger,
    inbox: Inbox, board: StatusBoard
  ) {
    staging = Staging(settings: group, moment: moment)
    self.log = log
    self.store = store
    self.moment = moment
    self.logger = logger
    self.inbox = inbox
    self.board = board
    for settings in sources { add(settings) }
  }

  func run() {
    checkAdmission()
    publishStatus()
    while stopBy == nil {
      for command in inbox.take() { handle(command) }
      if stopBy != nil { break }
      let now = monotonicNanoseconds()
      followTimers(now)
      for session in sessions { flush(session) }
      publishStatus()
      readReady(wait(from: monotonicNanoseconds()))
      if let end = staging.core.end(at: monotonicNanoseconds()) { commit(end) }
    }
    inbox.shut()
    closeAll(sessions, until: min(stopBy ?? 0, monotonicNanoseconds() + IntakeLoop.closingTime), farewell: true)
    let now = moment()
    for session in sessions { session.enter(.stopped, at: now) }
    statusChanged = true
    publishStatus()
  }

  // MARK: Commands

  private func handle(_ command: Command) {
    switch command {
    case .stop(let deadline): stopBy = deadline
    case .reload(let sources): reload(sources)
    case .attempted(let attempt, let result):
      // Otherwise the source is gone, changed or parked, and the connection with it.
      guard
        let session = sessions.first(where: {
          if case .connecting(attempt) = $0.phase { true } else { false }
        })
      else { return }
      switch result {
      case .success(let opened):
        session.adopt(
          opened.connection, known: opened.known,
          deadline: monotonicNanoseconds() + IntakeLoop.openingTime)
      case .failure(let fault): lose(session, fault)
      }
    }
  }

  private func add(_ settings: SourceSettings) {
    let number = staging.core.enter(IntakeLoop.window(settings))
    let session = Session(
      settings, number: number, staging: staging, log: log, sessions: store, logger: logger, now: moment())
    if case .running = mode {} else { session.phase = .held }
    sessions.append(session)
  }

  private static func window(_ settings: SourceSettings) -> InFlightWindow {
    InFlightWindow(ceiling: Int(settings.receiveMaximum), isBound: settings.version == .mqtt5)
  }

  private func reload(_ sources: [SourceSettings]) {
    statusChanged = true
    let wanted = Dictionary(sources.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
    let leaving = sessions.filter { session in
      guard let settings = wanted[session.settings.name] else { return true }
      var comparable = settings
      comparable.filters = session.settings.filters
      comparable.retained = session.settings.retained
      return comparable != session.settings
    }
    if !leaving.isEmpty {
      if !staging.core.isEmpty { commit(.closing) }
      closeAll(leaving, until: monotonicNanoseconds() + IntakeLoop.closingTime, farewell: true)
      for session in leaving { staging.core.leave(session.number) }
      sessions.removeAll { session in leaving.contains { $0 === session } }
    }
    showPasswordsAnew()
    for settings in sources {
      guard let session = sessions.first(where: { $0.settings.name == settings.name }) else {
        add(settings)
        if let other = leaving.first(where: { $0.settings.name == settings.name }) { sessions.last?.follow(other) }
        continue
      }
      if session.settings == settings { continue }
      do throws(SourceFault) { try session.change(to: settings) } catch { lose(session, error) }
    }
    let order = Dictionary(
      sources.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { $1 })
    sessions.sort { (order[$0.settings.name] ?? 0) < (order[$1.settings.name] ?? 0) }
  }

  /// Where a source lives on an old password, the one in its file is shown to the broker, which may take it by now.
  private func showPasswordsAnew() {
    let living = sessions.filter { session in
      if case .open = session.phase { session.status.refusedCredential != nil } else { false }
    }
    guard !living.isEmpty else { return }
    closeAll(living, until: monotonicNanoseconds() + IntakeLoop.closingTime, farewell: true)
    // Otherwise the commit found the log failing or full, and has arranged for all sessions.
    guard case .running = mode else { return }
    let (now, instant) = (moment(), monotonicNanoseconds())
    for session in living {
      session.forgetRefusal()
      session.phase = .waiting(until: instant)
      session.enter(.waiting, at: now)
    }
  }

  // MARK: Timers

  private func followTimers(_ now: Int64) {
    switch mode {
    case .running:
      for session in sessions {
        if case .waiting(let until) = session.phase, now >= until { attempt(session) }
      }
    case .parked:
      if now >= nextAdmission { checkAdmission() }
    case .logFailed(let until):
      if now >= until { recoverLog() }
    }
    for session in sessions {
      if case .opening(_, let deadline) = session.phase, now >= deadline { lose(session, .noAnswer) }
    }
    if let due = keepaliveDeadline, now >= due {
      commit(.keepalive)
      for session in sessions where session.signDue <= now { keepAlive(session, now) }
    }
    if now >= nextSecond {
      nextSecond = now + IntakeLoop.second
      for session in sessions { keepAlive(session, now) }
    }
  }

  /// The library queues a PINGREQ when it finds one due.
  private func keepAlive(_ session: Session, _ now: Int64) {
    guard let connection = session.connection else { return }
    do throws(SourceFault) { try connection.keepAlive() } catch { return lose(session, error) }
    // The library counts whole seconds, and may find nothing due yet.
    if session.signDue <= now { session.signDue = now + IntakeLoop.second }
  }

  /// When a session with staged messages has to write, whatever the group.
  private var keepaliveDeadline: Int64? {
    sessions.lazy
      .filter { $0.connection != nil && self.staging.core.staged(of: $0.number) > 0 }
      .map(\.signDue).min()
  }

  private func attempt(_ session: Session) {
    guard case .open = log.admission() else { return checkAdmission() }
    if staging.core.staged(of: session.number) > 0 {
      // What the lost connection had staged is part of what the broker may send again.
      commit(.closing)
      guard case .running = mode else { return }
    }
    attempts += 1
    let (number, settings, log, store, inbox) = (attempts, session.settings, log, store, inbox)
    let password = session.oldPassword
    session.phase = .connecting(attempt: number)
    session.enter(.connecting, at: moment())
    statusChanged = true
    do {
      try Worker.start("ingest-connect") {
        inbox.post(.attempted(number, IntakeLoop.open(settings, password, log, store)))
      }.detach()
    } catch {
      lose(session, .unreachable(detail: "\(error)"))
    }
  }

  /// On a connector thread.
  private static func open(
    _ settings: SourceSettings, _ password: Secret?, _ log: any MessageLog, _ store: any SessionStore
  ) -> Result<OpenedConnection, SourceFault> {
    let clientID: String
    let known: [String: SubscriptionState]
    do {
      clientID = try store.clientID(source: settings.name)
      known = try store.subscribedFilters(source: settings.name)
    } catch {
      return .failure(.sessionStore(detail: "\(error)"))
    }
    do throws(SourceFault) {
      let connection = try Connector.connect(settings, clientID: clientID, password: password)
      // MQTT 3.1.1 delivers at least once: it has no receive-maximum that says how many are in doubt.
      if settings.version == .mqtt5 { connection.inDoubt = try inDoubt(settings, log) }
      return .success(OpenedConnection(connection: connection, known: known))
    } catch {
      return .failure(error)
    }
  }

  private static func inDoubt(
    _ settings: SourceSettings, _ log: any MessageLog
  ) throws(SourceFault) -> InDoubtSet {
    do {
      return InDoubtSet(
        try log.inDoubt(source: settings.name, window: Int(settings.receiveMaximum)))
    } catch {
      throw .sessionStore(detail: "\(error)")
    }
  }

  // MARK: Room in the log

  /// Parks or resumes all sessions as the log says.
  func checkAdmission() {
    nextAdmission = monotonicNanoseconds() + IntakeLoop.admissionInterval
    switch (log.admission(), mode) {
    case (.open, .parked):
      logger.info("the log takes messages again: connecting")
      resume(after: 0)
    case (.open, _): break
    case (.closed(let reason), .parked):
      for session in sessions where session.status.parkedFor != reason {
        session.status.parkedFor = reason
        statusChanged = true
      }
    case (.closed(let reason), _):
      logger.warning("the log takes nothing: sessions are parked", metadata: ["reason": "\(reason)"])
      mode = .parked
      if !staging.core.isEmpty { commit(.closing) }
      if case .logFailed = mode { return }
      closeAll(sessions, until: monotonicNanoseconds() + IntakeLoop.closingTime, farewell: false)
      hold(.parked)
      for session in sessions { session.status.parkedFor = reason }
    }
  }

  func hold(_ state: SourceState) {
    let now = moment()
    for session in sessions {
      session.phase = .held
      session.enter(state, at: now)
    }
    statusChanged = true
  }

  /// Lets every session connect again.
  func resume(after delay: Int64) {
    mode = .running
    let (now, instant) = (moment(), monotonicNanoseconds() + delay)
    for session in sessions {
      session.phase = .waiting(until: instant)
      session.enter(.waiting, at: now)
    }
    statusChanged = true
  }

  // MARK: Waiting

  /// Sleeps until a socket, a command or a timer needs attention.
  /// - Returns: the sessions with something to read.
  private func wait(from now: Int64) -> [Session] {
    var entries = [pollfd(fd: inbox.descriptor, events: Int16(POLLIN), revents: 0)]
    var polled: [Session] = []
    var deadline = now + 60 * IntakeLoop.second
    for session in sessions {
      if case .waiting(let until) = session.phase, case .running = mode {
        deadline = min(deadline, until)
      }
      guard let connection = session.connection else { continue }
      deadline = min(deadline, nextSecond)
      if case .opening(_, let until) = session.phase { deadline = min(deadline, until) }
      var events: Int32 = 0
      var descriptor = connection.socket
      let mayWrite = staging.core.staged(of: session.number) == 0
      if mayWrite, connection.wantsWrite { events |= POLLOUT }
      if mayRead(session, connection) {
        if session.notBefore > now {
          deadline = min(deadline, session.notBefore)
          // Not even for a hang-up, which would be reported again and again.
          if events == 0 { descriptor = -1 }
        } else {
          events |= POLLIN
          if connection.mayHoldDecrypted { deadline = now }
        }
      }
      entries.append(pollfd(fd: descriptor, events: Int16(events), revents: 0))
      polled.append(session)
    }
    switch mode {
    case .running: break
    case .parked: deadline = min(deadline, nextAdmission)
    case .logFailed(let until): deadline = min(deadline, until)
    }
    if let end = staging.core.deadline { deadline = min(deadline, end) }
    if let due = keepaliveDeadline { deadline = min(deadline, due) }
    // Rounded up: waking too early would only mean to sleep again.
    let milliseconds = (max(0, deadline - now) + IntakeLoop.millisecond - 1) / IntakeLoop.millisecond
    poll(&entries, nfds_t(entries.count), Int32(milliseconds))
    let troubled = Int16(POLLIN | POLLERR | POLLHUP | POLLNVAL)
    return zip(polled, entries.dropFirst()).compactMap { session, entry in
      entry.revents & troubled != 0 || session.connection?.mayHoldDecrypted == true ? session : nil
    }
  }

  /// While acknowledgements wait for room in the socket, nothing is read: what came in would be
  /// acknowledged right behind them, uncommitted. Before the broker has accepted us nothing comes that
  /// is to be acknowledged.
  private func mayRead(_ session: Session, _ connection: Connection) -> Bool {
    if case .opening = session.phase { return true }
    return !connection.wantsWrite || staging.core.staged(of: session.number) > 0
  }

  private func readReady(_ ready: [Session]) {
    var again = ready
    repeat {
      staging.beginBurst()
      again = again.filter { session in
        !staging.core.isFull && read(session)
      }
    } while !again.isEmpty && !staging.core.isFull
  }

  /// - Returns: whether there may be more to read.
  private func read(_ session: Session) -> Bool {
    guard let connection = session.connection, mayRead(session, connection) else { return false }
    staging.core.wet(session.number)
    let end = connection.read()
    let now = monotonicNanoseconds()
    let events = connection.takeEvents()
    if session.count(events, at: now) { statusChanged = true }
    if case .lost(let fault) = end {
      lose(session, fault)
      return false
    }
    do throws(SourceFault) {
      if try session.process(events, of: connection, at: now, moment: moment) {
        statusChanged = true
      }
    } catch {
      lose(session, error)
      return false
    }
    switch end {
    case .dry: staging.core.dry(session.number, at: now)
    case .partial:
      session.notBefore = now + IntakeLoop.millisecond
      staging.core.dry(session.number, at: now)
    case .more: return true
    case .full, .lost: break
    }
    return false
  }

  func publishStatus() {
    guard statusChanged else { return }
    statusChanged = false
    for session in sessions {
      session.status.window = staging.core.learnedWindow(of: session.number)
    }
    board.publish(sessions.map(\.status))
  }
}
