internal import Glibc
internal import Logging
internal import Spool
internal import Status
internal import Synchronization
internal import Telemetry

/// Watches over the daemon: keeps its objectives and its alarms.
///
/// Looks come every ten seconds (``Supervision``), and when somebody asks for the status. What is kept outlives the
/// process in one small file, `oversight` in the spool's folder, replaced by atomic rename as the ``KeepRhythm`` says
/// and at the stop (docs/decisions/0015-history-of-objectives.md).
final class Oversight: Sendable {
  /// Nanoseconds between two looks.
  static let interval: Int64 = 10_000_000_000
  /// Bytes that the file can have: anything larger is none of ours.
  static let largestFile = 256 << 10

  private struct State: Sendable {
    var settings: AlarmSettings
    var board: AlarmBoard
    /// Changes with the regular looks alone, and so does what it says, which takes long to add up.
    var book: ObjectiveBook { didSet { say() } }
    private(set) var reports: [ObjectiveReport] = []
    private(set) var objectiveConditions: [AlarmCondition] = []
    var meter: ObjectiveMeter
    var trend = SpaceTrend()
    /// Conditions that others report, until they report that they are over.
    var reported: [String: AlarmCondition] = [:]
    /// Monotonic nanoseconds.
    var unsynchronisedSince: Int64?
    var rhythm: KeepRhythm
    /// The stages are being stopped: nothing that they do, or do no more, is a fault.
    var isStopping = false
    var cannotKeep = false
    var lastLook = Int64.min

    init(
      settings: AlarmSettings, board: AlarmBoard, book: ObjectiveBook, meter: ObjectiveMeter, rhythm: KeepRhythm
    ) {
      self.settings = settings
      self.board = board
      self.book = book
      self.meter = meter
      self.rhythm = rhythm
      say()
    }

    private mutating func say() {
      reports = book.reports
      objectiveConditions = book.conditions
    }
  }

  let tally = DeliveryTally()
  private let path: String
  private let logger: Logger
  private let state: Mutex<State>
  private let onLook: @Sendable (AlarmBoard) -> Void

  /// Goes on with what the last run kept in `directory`.
  /// - Parameters:
  ///   - known: alarms that somebody was told of, and of whose end nobody has been told: they go on, or end, too.
  ///   - onLook: called with the alarms as they stand after a look, on whatever thread looked, one look after the
  ///     other. It must not call this.
  init(
    directory: String, objectives: [ObjectiveName: ObjectiveSettings], alarms settings: AlarmSettings, now: Moment,
    logger: Logger, known: [Alarm] = [], onLook: @escaping @Sendable (AlarmBoard) -> Void = { _ in }
  ) {
    path = directory + "/oversight"
    self.logger = logger
    self.onLook = onLook
    var book = ObjectiveBook(objectives)
    var alarms = known
    var meter = ObjectiveMeter()
    var isYoung = true
    if case .success(let contents) = ConfigurationFiles.system.read(path, Oversight.largestFile) {
      do throws(KeptStatus.Damage) {
        let kept = try KeptStatus(contents.bytes, settings: objectives)
        isYoung = false
        book = kept.book
        meter = ObjectiveMeter(marks: kept.marks)
        let identities = Set(kept.alarms.map(AlarmIdentity.init))
        alarms = kept.alarms + known.filter { !identities.contains(AlarmIdentity($0)) }
      } catch {
        logger.warning(
          "the history of the objectives cannot be read: it begins anew",
          metadata: ["path": "\(path)", "cause": "\(error)"])
      }
    }
    state = Mutex(
      State(
        settings: settings,
        board: AlarmBoard(restoring: alarms, monotonic: now.monotonic, wall: now.wall), book: book, meter: meter,
        rhythm: KeepRhythm(started: now.monotonic, isYoung: isYoung)))
  }

  // MARK: What others see

  /// The objectives as they stand, in the order of docs/configuration.md.
  var objectives: [ObjectiveReport] { state.withLock { $0.reports } }
  /// The alarms as they stand.
  var board: AlarmBoard { state.withLock { $0.board } }
  var settings: AlarmSettings { state.withLock { $0.settings } }

  /// Other settings, of a configuration that was reloaded.
  func adopt(objectives: [ObjectiveName: ObjectiveSettings], alarms: AlarmSettings) {
    state.withLock { state in
      state.settings = alarms
      if state.book.settings != objectives { state.book.adopt(objectives) }
    }
  }

  /// The stages are about to be stopped: alarms stay as they are from now on, until the next start.
  func freeze() { state.withLock { $0.isStopping = true } }

  /// Something is wrong that no look sees, until `clear` is called with its kind and subject; shows at the next look.
  func report(_ condition: AlarmCondition) {
    state.withLock { $0.reported["\(condition.kind.rawValue)/\(condition.subject)"] = condition }
  }

  /// What is about anything but these is over.
  func clear(_ kind: AlarmKind, besides subjects: Set<String>) {
    state.withLock { state in
      state.reported = state.reported.filter { $0.value.kind != kind || subjects.contains($0.value.subject) }
    }
  }

  /// It is over.
  func clear(_ kind: AlarmKind, subject: String = "") {
    state.withLock { $0.reported["\(kind.rawValue)/\(subject)"] = nil }
  }

  // MARK: Looks

  /// Whether the last look lies farther back than so many nanoseconds.
  func isOlder(than age: Int64, now: Int64) -> Bool { state.withLock { saturating(now, minus: $0.lastLook) > age } }

  private func saturating(_ time: Int64, minus earlier: Int64) -> Int64 {
    let (difference, overflow) = time.subtractingReportingOverflow(earlier)
    return overflow ? .max : difference
  }

  /// - Parameter measures: the objectives take their sample: at the regular looks only.
  func look(_ seen: Sight, measures: Bool) {
    let delivered = measures ? tally.take() : []
    let events = state.withLock { state in
      var sight = seen
      let now = sight.now
      state.lastLook = now.monotonic
      state.unsynchronisedSince = now.quality == .synchronised ? nil : state.unsynchronisedSince ?? now.monotonic
      sight.unsynchronisedFor = state.unsynchronisedSince.map { now.monotonic - $0 }
      sight.hoursOfRoom = state.trend.hours(
        used: sight.space.used, room: sight.room, waits: sight.isBehind, now: now.monotonic)
      if measures {
        let sample = state.meter.sample(
          sight, delivered: delivered, bounds: state.book.settings.mapValues(\.bound))
        let before = state.reports.map(\.state)
        state.book.look(sample, now: now)
        if state.reports.map(\.state) != before { state.rhythm.hurry() }
      }
      if state.isStopping { return [AlarmEvent]() }
      let conditions =
        sight.conditions(longestWait: state.settings.longestWait) + sight.credentialConditions(state.settings)
        + state.objectiveConditions + state.reported.values
      let events = state.board.look(conditions, unknown: sight.unknown, monotonic: now.monotonic, wall: now.wall)
      if !events.isEmpty { state.rhythm.hurry() }
      // Within the lock: who is told how things stand must not hear of an older look after a newer one.
      onLook(state.board)
      return events
    }
    for event in events {
      logger.log(
        level: event.change == .resolved ? .notice : event.alarm.severity == .page ? .error : .warning,
        "alarm \(event.change.rawValue)",
        metadata: [
          "kind": "\(event.alarm.kind)", "subject": "\(event.alarm.subject)",
          "severity": "\(event.alarm.severity.rawValue)", "text": "\(event.alarm.text)",
        ])
    }
  }

  // MARK: What is kept

  /// Writes what is kept, when that is due.
  /// - Returns: whether it was.
  @discardableResult
  func keepIfDue(now: Moment) -> Bool {
    let isDue = state.withLock { $0.rhythm.isDue(now: now.monotonic) }
    if isDue { keep(now: now) }
    return isDue
  }

  /// Writes what is kept. A disk that is full costs what came since the last writing, no more.
  func keep(now: Moment) {
    let bytes = state.withLock { state in
      KeptStatus(book: state.book, alarms: state.board.kept, marks: state.meter.marks).encoded(now: now)
    }
    do throws(SpoolError) {
      try FileSystem.replace(path, with: bytes)
      state.withLock { $0.cannotKeep = false }
    } catch {
      let isNew = state.withLock { state in
        defer { state.cannotKeep = true }
        return !state.cannotKeep
      }
      if isNew {
        logger.warning("the history of the objectives cannot be kept", metadata: ["cause": "\(error)"])
      }
    }
  }
}

extension Sight {
  /// Bytes that may be taken until taking in stops (``SpaceGauge``).
  var room: Int64 { min(space.maximum / 100 * 85 - space.used, space.free - space.minimumFree) }

  /// Nanoseconds after which what waits is not just on its way.
  private static let onItsWay: Int64 = 600_000_000_000

  /// Something has waited for so long that it makes the spool grow; nil where that is not known.
  var isBehind: Bool? {
    guard let pipelines else { return nil }
    if pipelines.contains(where: { ($0.oldestAge ?? 0) > Sight.onItsWay }) { return true }
    return pipelines.contains(where: \.hasUnknownAge) ? nil : false
  }
}
