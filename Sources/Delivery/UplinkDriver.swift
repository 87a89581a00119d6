import Failpoints
package import Logging
import Synchronization
import Telemetry

/// Runs one uplink: performs what its ``DeliveryCore`` decides, and tells it what came of it.
///
/// Of the outbox only the bodies of what is on its way are in memory, however long the backlog is.
package actor UplinkDriver {
  private var settings: UplinkSettings
  private var core: DeliveryCore
  private var uplink: any Uplink
  private let make: @Sendable (UplinkSettings) -> any Uplink
  private let outbox: any Outbox
  private let logger: Logger
  private let observer: (any DeliveryObserver)?
  private let now: @Sendable () -> Int64

  private enum Life { case new, running, stopped }
  private var life = Life.new
  /// While the uplink is being replaced.
  private var isBeingReplaced = false
  private var sending: [Int64: Task<Void, Never>] = [:]
  /// Bodies that were read and whose sending has not ended.
  private var batches: [Int64: Batch] = [:]
  private var timer: (due: Int64, task: Task<Void, Never>)?
  private var waiters: [CheckedContinuation<Void, Never>] = []
  private var alarms: Set<DeliveryHold.Scope> = []
  private var wasOpen = false
  private var outageTold = false
  /// Many batches may be sealed before the actor gets to look: one look is enough for all.
  private let isWoken = Atomic<Bool>(false)

  /// - Parameters:
  ///   - make: makes the uplink, again when settings that it depends on have changed.
  ///   - seed: of the jitter.
  ///   - now: monotonic nanoseconds.
  ///   - observer: is told of every attempt.
  package init(
    settings: UplinkSettings, outbox: any Outbox, logger: Logger = Logger(label: "delivery"),
    observer: (any DeliveryObserver)? = nil, seed: UInt64, now: @escaping @Sendable () -> Int64,
    make: @escaping @Sendable (UplinkSettings) -> any Uplink
  ) {
    self.settings = settings
    self.outbox = outbox
    self.logger = logger
    self.observer = observer
    self.now = now
    self.make = make
    core = DeliveryCore(settings: settings, seed: seed)
    uplink = make(settings)
  }

  /// Begins to deliver. Once.
  package func start() {
    guard life == .new else { return }
    life = .running
    pump()
  }

  /// New batches may be in the outbox. Cheap, from any thread.
  package nonisolated func wake() {
    guard !isWoken.exchange(true, ordering: .acquiringAndReleasing) else { return }
    Task { await self.look() }
  }

  /// Delivers what can be delivered, and returns when the outbox is empty, when nothing more is to be
  /// tried before the deadline, or at the deadline.
  /// - Parameter deadline: monotonic nanoseconds.
  package func drain(until deadline: Int64) async {
    core.wake()
    pump()
    let alarm = Task { [now] in
      try? await Task.sleep(nanoseconds: UInt64(max(0, deadline - now())))
      self.changed()
    }
    defer { alarm.cancel() }
    while life == .running, now() < deadline, !core.isIdle {
      if sending.isEmpty, core.deadline(now: now()).map({ $0 > deadline }) ?? true { return }
      await withCheckedContinuation { waiters.append($0) }
    }
  }

  /// Ends what is on its way and closes the uplink. What had been taken is still booked; the rest
  /// stays in the outbox.
  package func stop() async {
    guard life != .stopped else { return }
    life = .stopped
    timer?.task.cancel()
    timer = nil
    await endSending()
    changed()
  }

  /// Takes new settings; secrets and certificates are read anew, and what was held is tried at once.
  package func reload(_ settings: UplinkSettings) async {
    let mustReplace = settings.kind != self.settings.kind || settings.batchesAtOnce != self.settings.batchesAtOnce
    self.settings = settings
    if mustReplace {
      isBeingReplaced = true
      await endSending()
      if life != .stopped { uplink = make(settings) }
      isBeingReplaced = false
    } else {
      await uplink.reload()
    }
    core.apply(settings, now: now())
    pump()
  }

  /// Sends nothing more until it is told otherwise; what is on its way ends.
  package func pause(_ paused: Bool) {
    core.pause(paused)
    pump()
    changed()
  }

  package func status() -> UplinkStatus {
    var status = core.status(now: now())
    status.refusedCredential = uplink.refusedCredential
    return status
  }

  // MARK: The loop

  private func look() {
    isWoken.store(false, ordering: .releasing)
    core.wake()
    pump()
  }

  private func pump() {
    guard life == .running, !isBeingReplaced else { return }
    while let action = core.next(now: now()) { perform(action) }
    // What was fetched and cannot be sent yet is read again when its time comes.
    for id in batches.keys where sending[id] == nil { batches[id] = nil }
    let due = core.deadline(now: now())
    guard due != timer?.due else { return }
    timer?.task.cancel()
    timer = due.map { due in
      let pause = max(0, due - now())
      let task = Task {
        try? await Task.sleep(nanoseconds: UInt64(pause))
        if !Task.isCancelled { self.timerFired() }
      }
      return (due, task)
    }
  }

  private func timerFired() {
    timer = nil
    pump()
    changed()
  }

  private func perform(_ action: DeliveryCore.Action) {
    do {
      switch action {
      case .fetch(let after, let excluding, let limit):
        let entries = try outbox.entries(
          uplink: settings.name, after: after, excluding: excluding, limit: limit)
        for entry in entries where sending[entry.id] == nil { batches[entry.id] = entry.batch }
        core.didFetch(entries, limit: limit)
      case .send(let id, let position, let attempt):
        guard let batch = try batch(id, position) else { return core.vanished(id) }
        batches[id] = batch
        send(id, batch, attempt: attempt)
      case .confirm(let ids):
        try outbox.confirm(ids)
        Failpoints.confirmed()
        core.didConfirm(ids)
      case .split(let id, let position):
        guard let batch = try batch(id, position) else { return core.vanished(id) }
        try split(id, position, batch)
      case .setAside(let id, let rule, let reason):
        try outbox.setAside(id, rule: rule, reason: reason)
        core.didSetAside(id)
        logger.warning(
          "the upstream refused a reading for good; it is in the dead letters",
          metadata: label(id).merging(["rule": "\(rule)", "reason": "\(reason)"]) { $1 })
      }
    } catch {
      logger.warning(
        "cannot use the outbox; trying again soon",
        metadata: ["uplink": "\(settings.name)", "error": "\(error)"])
      core.outboxFailed(action, reason: "cannot use the outbox: \(error)", now: now())
    }
  }

  private func split(_ id: Int64, _ position: OutboxPosition, _ batch: Batch) throws {
    let parts: [Batch]
    do {
      parts = try Splitting.halves(of: batch)
    } catch {
      return core.splitFailed(id, reason: error.description, now: now())
    }
    try outbox.split(id, into: parts)
    // They stand where the batch stood. Should this fail, they are found later.
    let entries = try? outbox.entries(
      uplink: settings.name, after: position.predecessor, excluding: [], limit: parts.count)
    core.didSplit(id, parts: entries ?? [])
  }

  /// An entry's batch, from the outbox if it is not at hand; nil when it is no longer there.
  private func batch(_ id: Int64, _ position: OutboxPosition) throws -> Batch? {
    if let batch = batches[id] { return batch }
    let entries = try outbox.entries(
      uplink: settings.name, after: position.predecessor, excluding: [], limit: 1)
    return entries.first { $0.id == id }?.batch
  }

  // MARK: Sending

  private func send(_ id: Int64, _ batch: Batch, attempt: Int) {
    let uplink = uplink
    let name = settings.name
    sending[id] = Task {
      Failpoints.sending()
      let written = ByteCount()
      let began = now()
      let answer = await uplink.send(batch, attempt: attempt, wrote: written.add)
      observer?.ended(
        DeliveryAttempt(uplink: name, number: attempt, began: began, ended: now(), answer: answer), of: batch)
      self.sent(id, answer, bytes: written.total)
    }
  }

  private func sent(_ id: Int64, _ answer: Answer, bytes: Int) {
    if answer == .hasIt { Failpoints.receiptReceived() }
    logger.debug(
      "an attempt to deliver a batch has ended",
      metadata: label(id).merging(["answer": "\(answer.kind.rawValue)", "sent_bytes": "\(bytes)"]) { $1 })
    core.answered(id, answer, bytes: bytes, now: now())
    sending[id] = nil
    report(answer)
    pump()
    changed()
  }

  /// Gives up what is on its way, and books what was taken.
  private func endSending() async {
    await uplink.shutdown()
    for task in sending.values { task.cancel() }
    while let (_, task) = sending.first { await task.value }
    batches = [:]
    // Not the pump: nothing new is sent. One failure is enough: what is not booked is sent again,
    // and the upstream says that it has it.
    while let action = core.confirmation(now: now()) { perform(action) }
  }

  private func changed() {
    let waiting = waiters
    waiters = []
    waiting.forEach { $0.resume() }
  }

  // MARK: Telling people

  /// What a line about an entry says of its batch.
  private func label(_ id: Int64) -> Logger.Metadata {
    var label: Logger.Metadata = ["uplink": "\(settings.name)"]
    guard let batch = batches[id] else { return label }
    label["batch"] = "\(batch.identity)"
    label["offset"] = "\(batch.firstOffset)"
    label["last_offset"] = "\(batch.lastOffset)"
    return label
  }

  /// What a line about a hold says of what is held.
  private func label(_ scope: DeliveryHold.Scope) -> Logger.Metadata {
    switch scope {
    case .uplink: ["uplink": "\(settings.name)"]
    case .pipeline(let name): ["uplink": "\(settings.name)", "pipeline": "\(name)"]
    case .batch(let identity): ["uplink": "\(settings.name)", "batch": "\(identity)"]
    }
  }

  /// Logs what began and what ended, once.
  private func report(_ answer: Answer) {
    guard answer != .hasIt || !alarms.isEmpty || wasOpen || outageTold else { return }
    let time = now()
    let status = core.status(now: time)
    let holds = Set(status.holds.map(\.scope))
    for hold in status.holds where !alarms.contains(hold.scope) {
      logger.error(
        "delivery is held",
        metadata: label(hold.scope).merging(["cause": "\(hold.cause.rawValue)", "reason": "\(hold.reason)"]) { $1 })
    }
    for scope in alarms.subtracting(holds) {
      logger.notice("delivery is no longer held", metadata: label(scope))
    }
    let isOpen = core.circuit != .closed
    if isOpen, !wasOpen {
      logger.warning(
        "the upstream cannot be reached; it is tried again, one batch at a time",
        metadata: ["uplink": "\(settings.name)", "error": "\(status.lastError ?? "")"])
    } else if wasOpen, !isOpen {
      logger.notice("the upstream can be reached again", metadata: ["uplink": "\(settings.name)"])
    }
    if let outage = status.outage, !outageTold, outage.isAlarming(now: time) {
      outageTold = true
      logger.error(
        "nothing can be delivered",
        metadata: ["uplink": "\(settings.name)", "reason": "\(outage.reason)"])
    } else if status.outage == nil, outageTold {
      outageTold = false
      logger.notice("the failures have ended", metadata: ["uplink": "\(settings.name)"])
    }
    alarms = holds
    wasOpen = isOpen
  }
}

/// Bytes that one attempt has sent, counted on whatever thread sends them.
private final class ByteCount: Sendable {
  private let count = Atomic<Int>(0)

  var total: Int { count.load(ordering: .acquiring) }

  @Sendable func add(_ bytes: Int) { count.add(bytes, ordering: .acquiringAndReleasing) }
}
