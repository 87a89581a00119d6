import Failpoints
import Glibc
import Logging
import Telemetry

/// Committing, acknowledging and closing: the half of the loop where order is everything.
extension IntakeLoop {
  /// Commits the staged group and then lets its acknowledgements leave.
  func commit(_ end: GroupEnd) {
    guard !staging.core.isEmpty else { return }
    #if Failpoints
      if Sabotage.acknowledgeBeforeCommit.isOn { for session in sessions { try? session.connection?.write() } }
    #endif
    do {
      try log.append(staging.group)
    } catch {
      return logFailed(error)
    }
    Failpoints.committed()
    recovery = Backoff()
    var dry: Set<Int> = []
    var writing: [Session] = []
    let committed = monotonicNanoseconds()
    for session in sessions {
      let count = staging.core.staged(of: session.number)
      guard count > 0 else { continue }
      session.status.messages += Int64(count)
      session.status.lastMessage = committed
      session.status.bytes += Int64(staging.core.stagedBytes(of: session.number))
      session.status.groups += 1
      guard let connection = session.connection else { continue }
      if connection.isDry { dry.insert(session.number) }
      writing.append(session)
    }
    for session in sessions {
      if end == .window { session.status.groupsEndedByWindow += 1 }
      if end == .linger { session.status.groupsEndedByLinger += 1 }
    }
    staging.clear()
    statusChanged = true
    // From here on nothing is staged, and the acknowledgements may leave.
    staging.core.committed(end, at: monotonicNanoseconds(), wasDry: dry.contains)
    for session in writing { flush(session) }
    Failpoints.acknowledged()
    if case .running = mode { checkAdmission() }
  }

  /// Writes what the library has queued, unless that would acknowledge what is not committed.
  func flush(_ session: Session) {
    guard staging.core.staged(of: session.number) == 0, let connection = session.connection,
      connection.wantsWrite
    else { return }
    do throws(SourceFault) {
      try connection.write()
      if !connection.wantsWrite { session.wrote(at: monotonicNanoseconds()) }
    } catch {
      lose(session, error)
    }
  }

  /// The connection is over, or did not come about. What the source has staged stays: it will be
  /// committed, and the broker will send it again.
  func lose(_ session: Session, _ cause: SourceFault) {
    let now = monotonicNanoseconds()
    var fault = cause
    session.turnPassword(after: cause, of: session.connection)
    if case .open = session.phase {
      let isSilent = if case .connectionLost = cause { true } else { false }
      session.backoff.connectionEnded(after: now - session.acceptedAt, silently: isSilent)
      if session.backoff.isContested { fault = .contested }
    } else {
      session.backoff.attemptFailed()
    }
    staging.core.wet(session.number)
    let delay: Int64
    var level = Logger.Level.warning
    let state: SourceState
    if fault == .takenOver || fault == .contested {
      delay = session.backoff.delayAfterTakeover(using: &random)
      (state, level) = (.takenOver, .error)
    } else {
      delay = session.backoff.delay(using: &random)
      // A takeover stays an alarm until the session is ours again.
      state = fault.isRefusal ? .refused : session.status.state == .takenOver ? .takenOver : .waiting
      if fault.isRefusal { level = .error }
    }
    session.phase = .waiting(until: now + delay)
    session.enter(state, at: moment())
    session.status.fault = "source \(session.settings.name), \(session.status.address): \(fault)"
    statusChanged = true
    logger.log(
      level: level, "not connected to the broker",
      metadata: [
        "source": "\(session.settings.name)", "address": "\(session.status.address)",
        "cause": "\(fault.cause)", "hint": "\(fault.hint)",
        "retry_in_ms": "\(delay / IntakeLoop.millisecond)",
      ])
  }

  // MARK: A log that fails

  /// Nothing of the group is kept for certain: no acknowledgement may leave on any connection.
  private func logFailed(_ error: any Error) {
    logger.error(
      "the log failed: nothing is acknowledged, the brokers will send it again",
      metadata: ["error": "\(error)", "messages": "\(staging.group.count)"])
    for session in sessions {
      guard let connection = session.connection else { continue }
      if connection.socket >= 0 { shutdown(connection.socket, Int32(SHUT_RDWR)) }
    }
    staging.clear()
    staging.core.dropped()
    // Destroys the connections.
    hold(.logFailed)
    for session in sessions { session.status.fault = "the log failed: \(error)" }
    mode = .logFailed(until: monotonicNanoseconds())
  }

  func recoverLog() {
    do {
      try log.recover()
    } catch {
      let delay = recoveryDelay()
      mode = .logFailed(until: monotonicNanoseconds() + delay)
      logger.error(
        "the log could not be opened again",
        metadata: ["error": "\(error)", "retry_in_ms": "\(delay / IntakeLoop.millisecond)"])
      return
    }
    logger.info("the log is open again")
    // An error that comes back at every commit must not become a storm of connections.
    resume(after: recoveryDelay())
    checkAdmission()
  }

  /// The disk is our own and nobody else is waiting for it: once there is room again, taking in goes on
  /// within seconds, not after the minute that a broker would be given.
  private func recoveryDelay() -> Int64 {
    min(recovery.delay(using: &random), IntakeLoop.longestRecoveryDelay)
  }

  // MARK: Closing

  /// Commits what is staged, acknowledges it and closes the connections of some sessions.
  /// - Parameter farewell: whether to say DISCONNECT where nothing is left to write.
  func closeAll(_ closing: [Session], until deadline: Int64, farewell: Bool) {
    if !staging.core.isEmpty { commit(.closing) }
    let now = monotonicNanoseconds()
    var descriptors: [Int32] = []
    for session in closing {
      if case .open(let connection) = session.phase, staging.core.staged(of: session.number) == 0 {
        session.backoff.connectionEnded(after: now - session.acceptedAt, silently: false)
        descriptors.append(connection.finish(saying: farewell, until: deadline))
      }
      session.phase = .held
    }
    Connection.drain(descriptors, until: deadline)
  }
}
