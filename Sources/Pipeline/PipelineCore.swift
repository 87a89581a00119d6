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

  private var router: TopicRouter
  private var decoder: ReadingDecoder
  private var stages: ReadingStages
  private var lines: LineBuffer
  private var open: OpenBatch?
  private var closed: [ClosedBatch] = []
  /// What happened before the open batch began.
  private var decided = Tally()
  /// What happened from the open batch's beginning on, refused and unmatched messages included.
  private var pending = Tally()
  private var refusedAgain: [DeadLetter] = []

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
    stages = try ReadingStages(settings: settings, stored: stored)
    lines = LineBuffer(keeping: 2 * settings.batch.maximumBytes)
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
  /// When ``tick(_:)`` will close the open batch, in monotonic nanoseconds; nil where none is open.
  package var deadline: Int64? { open?.deadline }
  /// Where the next seal will put the checkpoint.
  package var checkpoint: Offset { open?.start ?? readPosition }

  /// Whether a message of this origin could be a reading of this pipeline.
  package func interested(in origin: Origin) -> Bool { router.matches(origin) }

  // MARK: Records

  /// Takes the records of a block from the read position on. Batches close on count and bytes as they
  /// fill.
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
          route = router.route(group.origins[entry.origin])
          routes[entry.origin] = .some(route)
        }
        guard let route else {
          note { $0.counters.unmatched += 1 }
          continue
        }
        let offset = block.first + index
        let payload = UnsafeRawBufferPointer(rebasing: payloads[entry.payloadRange])
        do throws(Refusal) {
          try decoder.decode(payload, keyIsInTopic: route.hasKey, received: entry.wall, offset: offset)
          var outcome = Tally()
          outcome.counters.decoded = 1
          outcome.counters.produced = Int64(decoder.items.count)
          let source = ReadingStages.Source(
            route: route, origin: group.origins[entry.origin], log: log, offset: offset,
            received: group.moment(of: index))
          if take(payload, from: source, at: offset, outcome: &outcome, now: now) {
            open?.last = offset
            if open?.first == nil { open?.first = offset }
          }
          note { $0 += outcome }
          stages.remember()
          closeIfFull(now)
        } catch {
          let rejection = Rejection(
            stage: .decode, rule: error.rule.rawValue, reason: error.reason,
            origin: group.origins[entry.origin], log: log, offset: offset,
            received: group.moment(of: index), payload: Array(payload))
          note { $0.add(rejection) }
        }
        // Refused payloads behind the open batch wait in memory for its seal. They must not pile up.
        if pending.rejectedBytes > settings.batch.maximumBytes { close(now) }
      }
    }
    readPosition = block.end
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
  package mutating func requeue(_ letter: DeadLetter, now: Moment) {
    guard !decided.resolved.contains(letter.id), !pending.resolved.contains(letter.id),
      !refusedAgain.contains(where: { $0.id == letter.id })
    else { return }
    let rejection = letter.rejection
    do throws(Refusal) {
      var outcome = Tally()
      outcome.resolved.append(letter.id)
      if rejection.stage == .upstream {
        try requeue(line: rejection.payload, now: now)
        outcome.counters.requeued = 1
      } else {
        try requeue(rejection, outcome: &outcome, now: now)
      }
      note { $0 += outcome }
      stages.remember()
      closeIfFull(now)
    } catch {
      var again = rejection
      again.rule = error.rule.rawValue
      again.reason = error.reason
      refusedAgain.append(DeadLetter(id: letter.id, rejection: again))
    }
  }

  /// A line that the upstream refused is delivered once more as it is.
  private mutating func requeue(line: [UInt8], now: Moment) throws(Refusal) {
    let inner = line.dropLast(line.last == UInt8(ascii: "\n") ? 1 : 0)
    guard !inner.isEmpty, !inner.contains(UInt8(ascii: "\n")) else {
      throw Refusal(.line, "the dead letter is not exactly one line")
    }
    let before = lines.count
    lines.append(line: line)
    place(1, behind: before, at: readPosition, now: now)
  }

  /// A payload is decoded once more; a line that a stage behind the decoder refused goes on there.
  private mutating func requeue(
    _ rejection: Rejection, outcome: inout Tally, now: Moment
  ) throws(Refusal) {
    guard let route = router.route(rejection.origin) else {
      throw Refusal(.unmatched, "the pipeline no longer takes messages from this source and topic")
    }
    let source = ReadingStages.Source(
      route: route, origin: rejection.origin, log: rejection.log, offset: rejection.offset,
      received: rejection.received, behind: rejection.stage)
    let position = readPosition
    let result: Result<Void, Refusal> = rejection.payload.withUnsafeBytes { bytes in
      do throws(Refusal) {
        if rejection.stage == .decode {
          try decoder.decode(
            bytes, keyIsInTopic: route.hasKey, received: rejection.received.wall, offset: rejection.offset)
        } else {
          try decoder.decode(line: bytes, keyIsInTopic: route.hasKey, offset: rejection.offset)
        }
        outcome.counters.requeued = Int64(decoder.items.count)
        _ = take(bytes, from: source, at: position, outcome: &outcome, now: now)
        return .success(())
      } catch { return .failure(error) }
    }
    try result.get()
  }

  // MARK: Batches

  /// Closes the open batch if it has reached its age.
  package mutating func tick(_ now: Moment) {
    if let open, now.monotonic >= open.deadline { close(now) }
  }

  /// Closes the open batch whatever its age: to drain, to stop, or before another version takes over.
  package mutating func close(_ now: Moment) {
    close(bytes: lines.count, now: now)
  }

  /// Runs what was decoded from `payload` through the stages and adds the lines that come out to the open batch.
  /// - Returns: whether there were any.
  private mutating func take(
    _ payload: UnsafeRawBufferPointer, from source: ReadingStages.Source, at position: Offset,
    outcome: inout Tally, now: Moment
  ) -> Bool {
    let before = lines.count
    let count: Int
    if let text = decoder.text {
      count = text.withUnsafeBytes { text in
        stages.run(decoder.items, decoder.tape, text, from: source, into: &lines, outcome: &outcome)
      }
    } else {
      count = stages.run(decoder.items, decoder.tape, payload, from: source, into: &lines, outcome: &outcome)
    }
    guard count > 0 else { return false }
    place(count, behind: before, at: position, now: now)
    return true
  }

  /// Makes the lines behind the first `before` bytes, which are those of one message, part of the open batch.
  /// Closes it before if they would exceed its bytes, and opens one where there is none. They are not parted: a
  /// batch may be fuller for the last message in it.
  private mutating func place(_ count: Int, behind before: Int, at position: Offset, now: Moment) {
    if before > 0, lines.count > settings.batch.maximumBytes { close(bytes: before, now: now) }
    if open == nil {
      let (deadline, overflow) = now.monotonic.addingReportingOverflow(settings.batch.maximumAge)
      open = OpenBatch(start: position, deadline: overflow ? .max : deadline)
      stages.beginPending()
    }
    open?.count += count
  }

  private mutating func closeIfFull(_ now: Moment) {
    guard let open else { return }
    if open.count >= settings.batch.maximumCount || lines.count >= settings.batch.maximumBytes {
      close(now)
    }
  }

  /// Closes the open batch, whose lines are the first `bytes` of the buffer.
  private mutating func close(bytes: Int, now: Moment) {
    guard let batch = open else { return }
    closed.append(
      ClosedBatch(
        log: log, first: batch.first ?? batch.start, last: batch.last ?? batch.start,
        count: batch.count, body: lines.takeFirst(bytes), sealed: now))
    decided += pending
    pending = Tally()
    open = nil
    stages.pendingDecided()
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
    let batches = try seal(&next)
    if let until = next.possibleDuplicateUntil, next.checkpoint >= until {
      next.possibleDuplicateUntil = nil
    }
    // A dead letter that was put back may leave nothing but its own end.
    guard next != state || !batches.isEmpty || !refusedAgain.isEmpty || !decided.resolved.isEmpty else { return nil }
    return Seal(
      batches: batches, rejections: decided.rejections, counters: decided.counters,
      resolvedDeadLetters: decided.resolved, refusedAgain: refusedAgain, stages: stages.changes(),
      state: next)
  }

  /// The seal that ``nextSeal()`` gave, since when no record was processed, is stored.
  package mutating func sealed(_ seal: Seal) {
    state = seal.state
    closed = []
    decided = Tally()
    refusedAgain = []
    stages.stored()
  }

  /// Gives the closed batches their identities, digests and compressed bodies.
  private func seal(_ state: inout PipelineState) throws(CompressionError) -> [Batch] {
    guard !closed.isEmpty else { return [] }
    let compressor = try BodyCompressor(settings.batch.compression)
    var batches: [Batch] = []
    batches.reserveCapacity(closed.count)
    for batch in closed {
      let identity = BatchIdentity(
        gateway: state.gateway, pipeline: settings.name, epoch: state.epoch,
        sequence: state.nextSequence)
      let digest = Batch.digest(
        identity: identity, previous: state.previousDigest, count: batch.count, body: batch.body)
      batches.append(
        Batch(
          identity: identity, version: version, log: batch.log, firstOffset: batch.first,
          lastOffset: batch.last, count: batch.count, encoding: settings.batch.encoding,
          compression: settings.batch.compression, body: try compressor.compress(batch.body),
          length: batch.body.count, digest: digest, previous: state.previousDigest,
          possibleDuplicate: state.possibleDuplicateUntil.map { batch.first < $0 } ?? false,
          replay: state.replay, sealed: batch.sealed))
      state.nextSequence += 1
      state.previousDigest = digest
    }
    return batches
  }
}
