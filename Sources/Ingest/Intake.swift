internal import Glibc
package import Logging
internal import Synchronization
package import Telemetry

/// Takes messages from brokers into the durable log, and acknowledges them when they are committed.
///
/// One intake thread polls the sockets of all sources, stages what it reads in one bounded group,
/// commits the group and only then lets the acknowledgements leave (docs/architecture.md,
/// "Acknowledging after the commit"). Connecting blocks, so each attempt has a short-lived thread of its
/// own and hands the connection over: a host that does not answer delays nobody else.
package final class Intake: Sendable {
  private let inbox = Inbox()
  private let board = StatusBoard()
  private let group: GroupSettings
  private let sources: [SourceSettings]
  private let log: any MessageLog
  private let sessions: any SessionStore
  private let moment: MomentSource
  private let logger: Logger
  private let worker = Mutex<Worker?>(nil)

  /// - Parameters:
  ///   - group: when a group is committed.
  ///   - sources: the broker sessions; names are unique.
  ///   - moment: stamps messages; called on the intake thread.
  package init(
    group: GroupSettings, sources: [SourceSettings], log: any MessageLog,
    sessions: any SessionStore, moment: @escaping MomentSource, logger: Logger
  ) {
    self.group = group
    self.sources = sources
    self.log = log
    self.sessions = sessions
    self.moment = moment
    self.logger = logger
  }

  /// Starts the intake thread. Call it once.
  /// - Throws: when the system gives no thread or no descriptor.
  package func start() throws {
    guard inbox.descriptor >= 0 else { throw Worker.ThreadFailure(code: EMFILE) }
    // Everything the loop owns is made on its own thread and never leaves it.
    let started = try Worker.start("ingest") { [self] in
      IntakeLoop(
        group: group, sources: sources, log: log, sessions: sessions, moment: moment,
        logger: logger, inbox: inbox, board: board
      ).run()
    }
    worker.withLock { $0 = started }
  }

  /// Takes over other sources, compared by value: a source that is gone is disconnected, its session
  /// kept by the broker; one that is new or otherwise changed is (re)connected; where only the filters
  /// differ, the difference is subscribed. Returns at once; ``status()`` shows the progress.
  package func reload(sources: [SourceSettings]) {
    inbox.post(.reload(sources))
  }

  /// Commits what is staged, acknowledges it, disconnects and ends the thread. Attempts to connect that
  /// are under way end by themselves.
  /// - Parameter graceNanoseconds: how long it may take.
  /// - Returns: whether the thread ended in time. If not (the log hangs), nothing is lost: what was not
  ///   acknowledged comes again.
  @discardableResult
  package func stop(graceNanoseconds: Int64) -> Bool {
    guard
      let running = worker.withLock({ worker in
        defer { worker = nil }
        return worker
      })
    else { return true }
    inbox.post(.stop(deadline: monotonicNanoseconds() + graceNanoseconds))
    return running.join(within: graceNanoseconds)
  }

  /// The sources in the order of the configuration, as they were a moment ago.
  package func status() -> [SourceStatus] { board.read() }
}
