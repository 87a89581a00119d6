package import Compression
package import Telemetry

/// One pipeline, without a clock and without I/O: records in, seals out.
///
/// The same records under the same version, with the same ticks, give the same batches, byte for byte.
/// An open batch is never stored: the checkpoint of every seal stops before the open batch's first
/// record, and whatever was decided about that record and those behind it is in none of the seals until
/// the batch is. So a crash at any time loses the open batch and reads its records again.
package struct PipelineCore: Sendable {
  package let settings: PipelineSettings
  /// Stands in every batch; see ``pipelineVersion(_:)``.
  package let version: String

  /// As of the last seal.
  private var state: PipelineState
  private var log: LogID
  /// The next offset it wants.
  package private(set) var readPosition: Offset

  var router: TopicRouter
  private var decoder: ReadingDecoder
  private var stages: ReadingStages
  /// Of pipelines whose event time is the receipt.
  private var clock: ReceiptClock?
  private var lines: LineBuffer
  var open: OpenBatch?
  var closed: [ClosedBatch] = []
  /// What happened before the open batch began.
  private var decided = Tally()
  /// What happened from the open batch's beginning on, refused and unmatched messages included.
  private var pending = Tally()
  private var refusedAgain: [DeadLetter] = []
  /// Of a pipeline with windows, as of a time when no batch was open, and when that was, in monotonic nanoseconds.
  private var windowMark: (mark: WindowMark, since: Int64?)?

  /// Goes on from `state`, as the last stored seal left it.
  /// - Parameter stages: what the stages remembered then.
  /// - Throws: `ExpressionError` where `where` or `select` does not compile (``PipelineSettings/validate()`` tells it
  ///   before); ``StageDamage`` where the memory of a stage cannot be read.
  package init(
    settings: PipelineSettings, version: String, state: PipelineState, stages stored: [StageState] = []
  ) throws {
    self.settings = settings
    self.version = version
    self.state = state
    log = state.log
    readPosition = state.checkpoint
    router = TopicRouter(settings: settings)
    decoder = ReadingDecoder(settings: settings)
    stages = try ReadingStages(settings: settings, stored: stored, mark: state.windows)
    if case .receipt(let hold) = settings.time { clock = try ReceiptClock(hold: hold, stored: stored) }
    lines = LineBuffer(keeping: 2 * settings.batch.maximumBytes)
    windowMark = stages.window.map { ($0.windows.mark(before: readPosition), nil) }
  }

  // MARK: What it holds

  /// Readings in the open batch.
  package var openReadings: Int { open?.count ?? 0 }
  /// Encoded bytes of the open batch.
  package var openBytes: Int { lines.count }
  /// Batches that the next seal will hold.
  package var sealableBatches: Int { closed.count }
  /// Bytes in memory until the next seal: bodies before their compression, and refused payloads.
  package var sealableBytes: Int { closed.reduce(decided.rejectedBytes) { $0 + $1.body.count } }
  /// When ``tick(_:)`` will close the open batch or a message has been held for long enough, in monotonic nanoseconds;
  /// nil for neither.
  package var deadline: Int64? {
    [open?.deadline, clock?.heldUntil].compactMap { $0 }.min()
  }
  /// Whether the next message waits for the wall clock to be synchronised.
  package var isHeld: Bool { clock?.heldUntil != nil }
  /// Until when it waits at most, in monotonic nanoseconds; nil where none does.
  package var heldUntil: Int64? { clock?.heldUntil }
  /// What the stages have seen beside what the ledger counts.
  package var observations: StageObservations { stages.observations }
  /// What is known of each device; nil, as it is at first, where nobody wants to know: replays and trials.
  package var devices: DeviceView? {
    get { stages.devices }
    set { stages.devices = newValue }
  }
  /// What `sequence` knows of a device; nil where it does not know it, or the pipeline has no such stage.
  package func sequence(of key: [UInt8]) -> SequenceState? { stages.sequence(of: key) }
  /// Where the next seal will put the checkpoint.
  package var checkpoint: Offset { open?.start ?? readPosition }

  /// Whether a message of this origin could be a reading of this pipeline.
  package func interested(in origin: Origin) -> Bool { router.matches(origin) }

  // MARK: Records

  /// Takes the records of a block from the read position on, up to one that has to wait (``isHeld``). Batches close on
  /// count and bytes as they fill.
  ///
  /// Blocks come in the order of the log. Offsets that are missing before the block, without ``skip``
  /// having said why, are booked as damaged: the log had counted them as received.
  package mutating func process(_ block: LogBlock, now: Moment) {
    if block.log != log {
      close(now)
      log = block.log
    }
    guard block.end > readPosition else { return }
    if block.first > readPosition {
      skip(to: block.first, damaged: block.first - readPosition)
    }
    let group = block.group
    var routes = [Route??](repeating: nil, count: group.origins.count)
    let start = Int(readPosition - block.first)
    group.payloads.withUnsafeBytes { payloads in
      for index in start..<group.count {
        let entry = group.entries[index]
        let route: Route?
        if let known = routes[entry.origin] {
          route = known
        } else {
          route = router.route(group.origins[entry.origin], at: entry.origin)
          routes[entry.origin] = .some(route)
        }
        guard let route else {
          note { $0.counters.unmatched += 1 }
          continue
        }
        let offset = block.first + index
        guard let received = receipt(group.moment(of: index), now: now) else {
          readPosition = offset
          return
        }
        let payload = UnsafeRawBufferPointer(rebasing: payloads[entry.payloadRange])
        do throws(Refusal) {
          let properties = group.properties.isEmpty ? nil : group.properties[index]
          if let excess = route.excess ?? settings.limits.excess(payload: payload.count, properties: properties) {
            throw excess
          }
          try decoder.decode(payload, keyIsInTopic: route.hasKey, received: received.wall, offset: offset)
          guard !stages.isPlain else {
            pass(payload, route, at: offset, received: received.wall, now: now)
            continue
          }
          var outcome = Tally()
          outcome.counters.decoded = 1
          outcome.counters.produced = Int64(decoder.items.count)
          let source = ReadingStages.Source(
            route: route, origin: group.origins[entry.origin], log: log, offset: offset, received: received)
          take(payload, from: source, at: offset, isFromLog: true, outcome: &outcome, now: now)
        } catch {
          let isWithheld = settings.mask != nil
          let rejection = Rejection(
            stage: .decode, rule: error.rule.rawValue, reason: error.reason, origin: group.origins[entry.origin],
            log: log, offset: offset, received: group.moment(of: index), payload: isWithheld ? [] : Array(payload),
            isWithheld: isWithheld)
          note { $0.add(rejection) }
        }
        // Refused payloads behind the open batch wait in memory for its seal. They must not pile up.
        if pending.rejectedBytes > settings.batch.maximumBytes { close(now) }
      }
      readPosition = block.end
    }
    noteReceipts(of: block)
  }

  /// When a message was received, as far as the pipeline knows; nil where it has to wait.
  private mutating func receipt(_ moment: Moment, now: Moment) -> Moment? {
    clock == nil ? moment : clock?.receipt(moment, now: now)
  }

  /// Passes over a stretch of the log that holds nothing to read.
  /// - Parameters:
  ///   - position: the next offset to read. One that lies behind is ignored.
  ///   - damaged: messages in blocks that can no longer be read.
  ///   - unmatched: messages in blocks without a topic that this pipeline is interested in.
  package mutating func skip(to position: Offset, damaged: Int64 = 0, unmatched: Int64 = 0) {
    guard position > readPosition else { return }
    readPosition = position
    note {
      $0.counters.damaged += damaged
      $0.counters.unmatched += unmatched
    }
  }

  // MARK: Dead letters

  /// Puts a dead letter back: a refused payload is decoded once more, a refused line is appended as it
  /// is. A letter that already waits in the open batch or for the next seal is left alone.
  /// - Parameter message: the payload of the letter's message, or why it is not to be had; asked for only where
  ///   the letter has none of its own (``Rejection/isWithheld``).
  package mutating func requeue(
    _ letter: DeadLetter, message: Result<[UInt8], Refusal>? = nil, now: Moment
  ) {
    guard !decided.resolved.contains(letter.id), !pending.resolved.contains(letter.id),
      !refusedAgain.contains(where: { $0.id == letter.id })
    else { return }
    let rejection = letter.rejection
    do throws(Refusal) {
      var outcome = Tally()
      outcome.resolved.append(letter.id)
      if rejection.stage == .upstream {
        outcome.counters.requeued = 1
        try requeue(line: rejection.payload, outcome: outcome, now: now)
      } else {
        try requeue(rejection, message: message, outcome: &outcome, now: now)
      }
    } catch {
      var again = rejection
      again.rule = error.rule.rawValue
      again.reason = error.reason
      refusedAgain.append(DeadLetter(id: letter.id, rejection: again))
    }
  }

  /// A line that the upstream refused is delivered once more as it is.
  private mutating func requeue(line: [UInt8], outcome: Tally, now: Moment) throws(Refusal) {
    let inner = line.dropLast(line.last == UInt8(ascii: "\n") ? 1 : 0)
    guard !inner.isEmpty, !inner.contains(UInt8(ascii: "\n")) else {
      throw Refusal(.line, "the dead letter is not exactly one line")
    }
    if lines.count + line.count > settings.batch.maximumBytes { close(now) }
    let begins = beginPending()
    lines.append(line: line)
    end(1, begins: begins, at: readPosition, isFromLog: false, outcome: outcome, now: now)
  }

  /// A payload is decoded once more; a line that a stage behind the decoder refused goes on there, and so does
  /// the one reading of a message that was refused there and whose line was not kept.
  private mutating func requeue(
    _ rejection: Rejection, message: Result<[UInt8], Refusal>?, outcome: inout Tally, now: Moment
  ) throws(Refusal) {
    guard let route = router.route(rejection.origin) else {
      throw Refusal(.unmatched, "the pipeline no longer takes messages from this source and topic")
    }
    if let excess = route.excess { throw excess }
    let source = ReadingStages.Source(
      route: route, origin: rejection.origin, log: rejection.log, offset: rejection.offset,
      received: clock?.pastReceipt(rejection.received, now: now) ?? rejection.received, behind: rejection.stage,
      isRemembered: rejection.wasRemembered, reading: rejection.reading)
    let position = readPosition
    // The windows that take it would need it again, however long ago it came.
    if let mark = windowMark?.mark { windowMark?.mark.from = min(mark.from, rejection.offset) }
    let payload = rejection.isWithheld ? try withheld(rejection, message) : rejection.payload
    if rejection.stage == .decode, let excess = settings.limits.excess(payload: payload.count, properties: nil) {
      throw excess
    }
    let result: Result<Void, Refusal> = payload.withUnsafeBytes { bytes in
      do throws(Refusal) {
        if rejection.stage == .decode || rejection.isWithheld {
          try decoder.decode(
            bytes, keyIsInTopic: route.hasKey, received: source.received.wall, offset: rejection.offset)
          if let number = rejection.reading { try decoder.keepOnly(reading: number) }
        } else {
          try decoder.decode(line: bytes, keyIsInTopic: route.hasKey, offset: rejection.offset)
        }
        outcome.counters.requeued = Int64(decoder.items.count)
        take(bytes, from: source, at: position, isFromLog: false, outcome: &outcome, now: now)
        return .success(())
      } catch { return .failure(error) }
    }
    try result.get()
    guard let number = rejection.reading else { return }
    // Alone here, it is still the reading of its message that it was.
    for index in outcome.rejections.indices { outcome.rejections[index].reading = number }
  }

  /// The message behind a letter without bytes.
  private func withheld(
    _ rejection: Rejection, _ message: Result<[UInt8], Refusal>?
  ) throws(Refusal) -> [UInt8] {
    guard rejection.stage == .decode || rejection.reading != nil else {
      throw Refusal(.readingMissing, "its bytes were not kept, and nothing says which reading of its message it was")
    }
    guard let message else { throw Refusal(.logGone, "its bytes were not kept, and the log was not asked for them") }
    return try message.get()
  }

  // MARK: Batches

  /// Time has come to `now`: windows may close without a reading, and the open batch if it has reached its age.
  /// - Parameter isCaughtUp: that everything has been read that had come by `now`: only then is a time without
  ///   readings one in which there were none.
  package mutating func tick(_ now: Moment, isCaughtUp: Bool = true) {
    if isCaughtUp, stages.window?.followsTheClock == true {
      let begins = beginPending()
      var outcome = Tally()
      let count = stages.tick(now, into: &lines, outcome: &outcome)
      end(count, begins: begins, at: readPosition, isFromLog: false, outcome: outcome, now: now)
    }
    if let open, now.monotonic >= open.deadline { close(now) }
    markWindows(now)
  }

  /// Closes every window whatever the watermark, and the open batch: before other rules take over, and at the end of
  /// all readings.
  package mutating func drainWindows(_ now: Moment) {
    let begins = beginPending()
    var outcome = Tally()
    let count = stages.drainWindows(into: &lines, outcome: &outcome)
    end(count, begins: begins, at: readPosition, isFromLog: false, outcome: outcome, now: now)
    close(now)
  }

  /// Closes the open batch whatever its age: to drain, to stop, or before another version takes over.
  package mutating func close(_ now: Moment) {
    guard let batch = open else { return }
    let bodies: [(body: [UInt8], count: Int)]
    if lines.count <= settings.batch.maximumBytes, batch.count <= settings.batch.maximumCount {
      bodies = [(lines.takeFirst(lines.count), batch.count)]
    } else {
      bodies = lines.takeBodies(
        maximumBytes: settings.batch.maximumBytes, maximumCount: settings.batch.maximumCount)
    }
    for (body, count) in bodies {
      closed.append(
        ClosedBatch(
          log: log, first: batch.first ?? batch.start, last: batch.last ?? batch.start, count: count, body: body,
          windows: windowMark?.mark, sealed: now, receipts: batch.first == nil ? nil : batch.receipts))
    }
    decided += pending
    pending = Tally()
    open = nil
    pendingDecided()
    markWindows(now)
  }

  /// Nanoseconds between two looks at every window for its first offset: the mark may lag.
  private static let markInterval: Int64 = 10_000_000_000

  /// Notes where windows stand, between two batches, for only then is what they hold what the next seal stores.
  private mutating func markWindows(_ now: Moment) {
    guard open == nil, let window = stages.window else { return }
    if let since = windowMark?.since, now.monotonic - since < PipelineCore.markInterval { return }
    windowMark = (window.windows.mark(before: readPosition), now.monotonic)
  }

  /// Runs what was decoded from `payload` through the stages and books what comes out.
  private mutating func take(
    _ payload: UnsafeRawBufferPointer, from source: ReadingStages.Source, at position: Offset, isFromLog: Bool,
    outcome: inout Tally, now: Moment
  ) {
    let gives = stages.mayGiveLines(decoder.items)
    // Once the stages have met the message it cannot be parted from the open batch any more.
    if gives { makeRoom(source.route, now: now) }
    let begins = gives && beginPending()
    let count: Int
    if let text = decoder.text {
      count = text.withUnsafeBytes { text in
        stages.run(decoder.items, decoder.tape, text, from: source, into: &lines, outcome: &outcome)
      }
    } else {
      count = stages.run(decoder.items, decoder.tape, payload, from: source, into: &lines, outcome: &outcome)
    }
    end(count, begins: begins, at: position, isFromLog: isFromLog, outcome: outcome, now: now)
  }

  /// The same where there is nothing between decoder and batch: most of what ``take`` gives the stages is not needed.
  private mutating func pass(
    _ payload: UnsafeRawBufferPointer, _ route: Route, at position: Offset, received: Int64, now: Moment
  ) {
    let count = decoder.items.count
    if count > 0 { makeRoom(route, now: now) }
    let begins = count > 0 && beginPending()
    if let text = decoder.text {
      text.withUnsafeBytes { pass($0, route, at: position, received: received) }
    } else {
      pass(payload, route, at: position, received: received)
    }
    end(count, begins: begins, at: position, isFromLog: true, now: now) {
      $0.counters.decoded += 1
      $0.counters.produced += Int64(count)
    }
  }

  @inline(__always)
  private mutating func pass(
    _ text: UnsafeRawBufferPointer, _ route: Route, at position: Offset, received: Int64
  ) {
    for item in decoder.items {
      lines.append(item.reading, of: text, route: route)
      stages.devices?.note(item.reading, text, route: route, offset: position, received: received)
    }
  }

  /// Closes the open batch where the lines of the readings at hand do not fit into it, as far as they are known before
  /// the stages have met them.
  private mutating func makeRoom(_ route: Route, now: Moment) {
    guard let count = open?.count else { return }
    var isFull = count + decoder.items.count > settings.batch.maximumCount
    if !isFull {
      let room = settings.batch.maximumBytes - lines.count
      isFull = LineBuffer.bound(decoder.items, route: route, isExact: false) > room
      // The exact length is needed for the last few readings of a batch only.
      if isFull { isFull = LineBuffer.bound(decoder.items, route: route, isExact: true) > room }
    }
    if isFull { close(now) }
  }

  /// Comes before anything that may open a batch.
  /// - Returns: false where one is open, which it is part of.
  private mutating func beginPending() -> Bool {
    guard open == nil else { return false }
    stages.beginPending()
    clock?.beginPending()
    return true
  }

  private mutating func pendingDecided() {
    stages.pendingDecided()
    clock?.pendingDecided()
  }

  /// Makes the last `count` lines, which are those of one message, part of the open batch; opens one where there is
  /// none. They are sealed together: where they fill the batch to beyond its bounds they are parted, and closed as a
  /// whole.
  /// - Parameter begins: whether ``beginPending()`` was said for them.
  private mutating func end(
    _ count: Int, begins: Bool, at position: Offset, isFromLog: Bool, outcome: Tally, now: Moment
  ) {
    end(count, begins: begins, at: position, isFromLog: isFromLog, now: now) { $0 += outcome }
  }

  /// - Parameter book: enters what became of the message.
  private mutating func end(
    _ count: Int, begins: Bool, at position: Offset, isFromLog: Bool, now: Moment, book: (inout Tally) -> Void
  ) {
    guard count > 0 else {
      if begins { pendingDecided() }
      return note(book)
    }
    let isUnforeseen = open == nil && !begins
    if open == nil {
      let (deadline, overflow) = now.monotonic.addingReportingOverflow(settings.batch.maximumAge)
      open = OpenBatch(start: position, deadline: overflow ? .max : deadline)
    }
    open?.count += count
    if isFromLog {
      open?.last = position
      if open?.first == nil { open?.first = position }
    }
    note(book)
    let isFull =
      lines.count >= settings.batch.maximumBytes || (open?.count ?? 0) >= settings.batch.maximumCount
    // What the stages hold cannot be stored as it was before this message: so it is sealed with it.
    if isFull || isUnforeseen { close(now) }
  }

  /// Books something that happened at the read position.
  private mutating func note(_ change: (inout Tally) -> Void) {
    if open == nil { change(&decided) } else { change(&pending) }
  }

  // MARK: The seal

  /// Everything decided up to the end of the last closed batch, or up to the read position where no
  /// batch is open; nil where there is nothing to store. Batches are compressed here.
  ///
  /// Changes nothing: until ``sealed(_:)`` says that it is stored, the next call gives it again.
  package func nextSeal() throws(CompressionError) -> Seal? {
    var next = state
    next.log = log
    next.checkpoint = checkpoint
    next.windows = windowMark?.mark
    let batches = try closed.sealed(settings, version: version, into: &next)
    if let until = next.possibleDuplicateUntil, !next.reaches(before: until) {
      next.possibleDuplicateUntil = nil
    }
    // How far windows are closed is nothing to write for alone.
    var known = state
    known.windows = next.windows
    // A dead letter that was put back may leave nothing but its own end.
    guard next != known || !batches.isEmpty || !refusedAgain.isEmpty || !decided.resolved.isEmpty else { return nil }
    var seal = Seal(
      batches: batches, rejections: decided.rejections, counters: decided.counters,
      resolvedDeadLetters: decided.resolved, refusedAgain: refusedAgain, stages: changes(), state: next)
    seal.receipts = closed.map { $0.receipts ?? BatchReceipts() }
    return seal
  }

  /// The seal that ``nextSeal()`` gave, since when no record was processed, is stored.
  package mutating func sealed(_ seal: Seal) {
    state = seal.state
    closed = []
    decided = Tally()
    refusedAgain = []
    stages.stored()
    clock?.stored()
  }

  private func changes() -> [StageState] {
    let clock = clock?.changes()
    return (clock?.rows.isEmpty == false ? [clock].compactMap { $0 } : []) + stages.changes()
  }
}
