internal import Delivery
internal import Glibc
internal import Ingest
internal import Spool
internal import Status
internal import Synchronization
internal import Telemetry

/// Everything that can be counted of a running daemon, gathered when somebody asks and cheap to gather: from what the
/// stages count anyway, from memory and from one snapshot of the state.
struct DaemonFigures: Sendable {
  struct Pipeline: Sendable {
    /// Of a replay: the name of its book, `climate#…`.
    var name: String
    var uplink: String
    /// Since the pipeline began, over all restarts.
    var counters: LedgerCounters
    /// What of it is in the outbox; nil when nothing is.
    var waiting: StateTotals.Waiting?
    /// Nanoseconds since the oldest batch in the outbox was sealed; nil when there is none, or no clock knows.
    var oldestOutbox: Int64?
    var deadLetters: Int64
    var deadLetterBytes: Int64
    /// Nil of one that only waits for its delivery.
    var running: PipelineWorker.Figures?
    /// Messages in the log that it has not read, their payload bytes, and nanoseconds since the first was received.
    var backlog: Int64 = 0
    var backlogBytes: Int64 = 0
    var backlogAge: Int64 = 0
    /// Something that is taken in is not delivered yet, be it in the log, in an open batch or in the outbox.
    var waits = false
    /// Nanoseconds since the oldest message of that was received, as far as it can be told; nil where nothing can.
    var oldestAge: Int64?
    /// The age of some of it cannot be told: it may be older than ``oldestAge`` says.
    var hasUnknownAge = false

    /// ``oldestAge`` as the metrics and the status show it.
    var freshness: Int64 { oldestAge ?? 0 }

    /// Something waits.
    /// - Parameter age: nil: nobody can tell.
    fileprivate mutating func waits(for age: Int64?) {
      waits = true
      guard let age else {
        hasUnknownAge = true
        return
      }
      oldestAge = max(oldestAge ?? 0, age)
    }
  }

  /// What of a book, a replay's too, waits for an uplink that is not configured.
  struct Stranded: Sendable, Hashable {
    var book: String
    var uplink: String
    var readings: Int64
  }

  struct Process: Sendable {
    var residentBytes: Int64
    var cpuSeconds: Double
    var openFiles: Int64?
    var maximumFiles: Int64?
    /// Since the daemon started; nil when the kernel does not say.
    var writtenBytes: Int64?
  }

  struct Objective: Sendable {
    /// `objective`, made once for each.
    var labels: MetricLabels
    var target: Double
    var budgetRemaining: Double?
    /// By the label `window`, made once: `MetricLabels("window", "1h")`.
    var burnRates: [(window: MetricLabels, rate: Double)]

    private static let windows = Dictionary(
      uniqueKeysWithValues: BurnWindow.allCases.map { ($0, MetricLabels("window", $0.rawValue)) })

    private static let labels = Dictionary(
      uniqueKeysWithValues: ObjectiveName.allCases.map { ($0.rawValue, MetricLabels("objective", $0.rawValue)) })

    init(_ report: ObjectiveReport) {
      labels = Self.labels[report.name] ?? MetricLabels("objective", report.name)
      target = report.target
      budgetRemaining = report.budgetRemaining
      burnRates = report.burnRates.compactMap { burn in
        Self.windows[burn.window].map { ($0, burn.rate) }
      }
    }

    init(
      name: ObjectiveName, target: Double, budgetRemaining: Double?, burnRates: [(window: MetricLabels, rate: Double)]
    ) {
      labels = MetricLabels("objective", name.rawValue)
      self.target = target
      self.budgetRemaining = budgetRemaining
      self.burnRates = burnRates
    }
  }

  var now: Moment
  /// Nanoseconds.
  var uptime: Int64
  var gateway: String
  var site: String?
  var sources: [SourceStatus]
  var used: Int64
  var free: Int64
  var maximum: Int64
  var minimumFree: Int64
  var parked: String?
  var end: LogStore.End
  /// Those that run and those of which something waits, by name, without replays.
  var pipelines: [Pipeline]
  var stranded: [Stranded] = []
  var replays: [Replay.State: Int64]
  var uplinks: [UplinkStatus]
  var process: Process
  var objectives: [Objective] = []
  /// How many of a kind last now.
  var alarms: [AlarmCount] = []
}

/// The totals of the state, gathered anew as often as they are cheap: where an outage has filled the outbox, counting
/// it takes longer, and happens so much more seldom that it never takes more than a hundredth of the time; for who
/// asks for those of now, a tenth.
struct TotalsCache: Sendable {
  /// The share of the time, 1 in so many, that gathering may take.
  static let share: Int64 = 100
  static let freshShare: Int64 = 10
  /// Nanoseconds of gathering that are always given to who asks for the totals of now.
  static let cheap: Int64 = 2_000_000

  private var totals: StateTotals?
  private var ended = Int64.min / 2
  /// Nanoseconds that gathering took.
  private var took: Int64 = 0

  /// - Parameters:
  ///   - isFresh: that they are of now, unless gathering them is so much work that it cannot be done each time.
  ///   - now: monotonic nanoseconds.
  ///   - gather: makes new ones.
  mutating func get(
    isFresh: Bool = false, now: () -> Int64, gather: () throws -> StateTotals
  ) rethrows -> StateTotals {
    let began = now()
    let lasting = isFresh ? (took <= TotalsCache.cheap ? 0 : took * TotalsCache.freshShare) : took * TotalsCache.share
    if let totals, began - ended < lasting { return totals }
    let fresh = try gather()
    ended = now()
    totals = fresh
    took = ended - began
    return fresh
  }
}

extension Daemon {
  /// - Parameter isFresh: that the totals of the state are of now, and fit the rest: what has left an open batch is in
  ///   the outbox. Where counting a long outbox takes too much time to do it at each question, they may be some tenths
  ///   of a second old.
  /// - Throws: when the state cannot be read: a failure has closed it, or it is being rebuilt.
  func figures(isFresh: Bool = false) async throws -> DaemonFigures {
    let (gateway, site, configured) = configuration.withLock {
      ($0.gateway.id, $0.gateway.site, $0.uplinks.map(\.name))
    }
    let uplinkStatus = await uplinks.status()
    // Before the totals: on its way from one to the other a reading may be counted twice, and is never missing.
    let running = pipelines.figures
    // One after the other: who comes while it is counted takes what was counted.
    let totals = try totals.withLock { cache in
      try cache.get(isFresh: isFresh, now: SystemClock.monotonic) { try spool.state.totals() }
    }
    let now = SystemClock.source()
    let space = spool.space.figures
    let end = spool.log.lastEnd
    let books = totals.books.filter { book in
      ReplayID.parse(book: book.name) == nil && (book.isActive || book.waiting != nil || running[book.name] != nil)
    }
    return DaemonFigures(
      now: now, uptime: now.monotonic - started, gateway: gateway, site: site, sources: intake.status(),
      used: space.used, free: space.free, maximum: space.maximum, minimumFree: space.minimumFree,
      parked: spool.space.parked, end: end,
      pipelines: books.map {
        DaemonFigures.Pipeline($0, running[$0.name], end: end.next, now: now, stretch: stretch)
      },
      stranded: DaemonFigures.stranded(totals, besides: Set(configured + uplinkStatus.map(\.name))),
      replays: totals.replays,
      uplinks: uplinkStatus, process: processFigures(),
      objectives: oversight.objectives.map(DaemonFigures.Objective.init),
      alarms: alarmBoard.counts)
  }

  /// What lies behind an offset of the log; nil where that cannot be read now.
  private func stretch(from offset: Offset) -> (bytes: Int64, oldest: Moment)? {
    if let recent = meters.recentStretch(from: offset) { return recent }
    return (try? logGauge.stretch(from: offset)).flatMap { $0 }.map { ($0.bytes, $0.oldest) }
  }

  private func processFigures() -> DaemonFigures.Process {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    var limit = rlimit()
    let isLimited = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
    return DaemonFigures.Process(
      residentBytes: ProcessMemory.resident(), cpuSeconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
      openFiles: ProcessFiles.open(), maximumFiles: isLimited ? Int64(clamping: limit.rlim_cur) : nil,
      writtenBytes: ProcessDisk.written().flatMap { now in writtenBefore.map { now - $0 } })
  }
}

extension DaemonFigures.Pipeline {
  /// - Parameters:
  ///   - end: of the log.
  ///   - stretch: what lies behind an offset of the log; nil where that cannot be read now.
  init(
    _ book: StateTotals.Book, _ running: PipelineWorker.Figures?, end: Offset, now: Moment,
    stretch: (Offset) -> (bytes: Int64, oldest: Moment)?
  ) {
    self.init(
      name: book.name, uplink: book.uplink, counters: book.counters, waiting: book.waiting,
      oldestOutbox: book.waiting.flatMap { now.elapsed(since: $0.oldestSealed) }, deadLetters: book.deadLetters,
      deadLetterBytes: book.deadLetterBytes, running: running)
    if let waiting = book.waiting {
      waits(for: now.age(ofSealed: waiting.oldestSealed, first: waiting.oldestAge ?? 0))
    }
    if let running {
      if let oldest = running.oldestUnsealed { waits(for: now.elapsed(since: oldest)) }
      backlog = max(0, (running.until ?? end) - running.readPosition)
      if backlog > 0 {
        let behind = stretch(running.readPosition)
        let age = behind.flatMap { now.elapsed(since: $0.oldest) }
        backlogBytes = behind?.bytes ?? 0
        backlogAge = age ?? 0
        waits(for: age)
      }
    } else if book.isActive {
      // Before its first pass nobody knows what it has read.
      hasUnknownAge = true
    }
  }
}

extension DaemonFigures {
  /// - Parameter uplinks: those that are configured, whether they run or not: a daemon that stops has stopped them.
  static func stranded(_ totals: StateTotals, besides uplinks: Set<String>) -> [Stranded] {
    totals.books.compactMap { book in
      guard let waiting = book.waiting, !uplinks.contains(book.uplink) else { return nil }
      return Stranded(book: book.name, uplink: book.uplink, readings: waiting.readings)
    }
  }
}

enum ProcessFiles {
  /// Descriptors that this process has open (proc(5), fd); nil where the kernel does not say.
  static func open() -> Int64? {
    guard let folder = opendir("/proc/self/fd") else { return nil }
    defer { closedir(folder) }
    var count: Int64 = 0
    while readdir(folder) != nil { count += 1 }
    // Not the two names of folders, nor the descriptor of this look.
    return max(0, count - 3)
  }
}
