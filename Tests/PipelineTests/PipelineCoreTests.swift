import Compression
import Pipeline
import Telemetry
import Testing

/// A line of `{"n":N}` from `sensors/p/climate` is 65 bytes long with its line feed while N has one digit.
private func reading(_ n: Int) -> Message { message("sensors/p/climate", #"{"n":\#(n)}"#) }
private let unmatched = message("elsewhere", "{}")
private let bad = message("sensors/p/climate", "{")
private func numbers(_ batch: Batch) throws -> [Int] {
  try linesOf(batch).map { line in Int(line.split(separator: ":").last?.dropLast(2) ?? "") ?? -1 }
}

@Suite("Batching")
struct PipelineCoreTests {
  @Test("A batch closes on its count, and the seal's checkpoint stands behind it")
  func count() throws {
    var core = try makeCore(try makeSettings { $0.batch.maximumCount = 2 })
    core.process(block((0..<5).map(reading), first: 0), now: moment())
    #expect(core.sealableBatches == 2)
    #expect(core.openReadings == 1)
    #expect(core.readPosition == Offset(5))
    let seal = try #require(try core.takeSeal())
    #expect(try seal.batches.map(numbers) == [[0, 1], [2, 3]])
    #expect(seal.batches.map(\.firstOffset.rawValue) == [0, 2])
    #expect(seal.batches.map(\.lastOffset.rawValue) == [1, 3])
    #expect(seal.state.checkpoint == Offset(4))
    #expect(seal.decoded == 4 && seal.produced == 4)
    #expect(try core.takeSeal() == nil)
    core.close(moment())
    let last = try #require(try core.takeSeal())
    #expect(try last.batches.map(numbers) == [[4]])
    #expect(last.state.checkpoint == Offset(5))
    #expect(try core.takeSeal() == nil)
  }

  @Test("A batch closes before the line that would exceed its bytes, and at once when it is exactly full")
  func bytes() throws {
    let line = #"{"key":"p","time":"2026-11-21T03:18:00Z","data":{"n":0}}"#.utf8.count + 1
    var core = try makeCore(try makeSettings { $0.batch.maximumBytes = 3 * line + 1 })
    core.process(block((0..<5).map(reading)), now: moment())
    #expect(core.sealableBatches == 1)
    #expect(core.openReadings == 2)
    #expect(core.openBytes == 2 * line)
    #expect(core.sealableBytes == 3 * line)

    var exact = try makeCore(try makeSettings { $0.batch.maximumBytes = 3 * line })
    exact.process(block((0..<6).map(reading)), now: moment())
    #expect(exact.sealableBatches == 2)
    #expect(exact.openReadings == 0)
    #expect(exact.deadline == nil)
  }

  @Test("A batch closes at its age since its first reading, and not before")
  func age() throws {
    var core = try makeCore(try makeSettings { $0.batch.maximumAge = 1_000_000_000 })
    #expect(core.deadline == nil)
    core.process(block([reading(0)]), now: moment(100))
    core.process(block([reading(1)], first: 1), now: moment(900))
    #expect(core.deadline == moment(1_100).monotonic)
    core.tick(moment(1_099))
    #expect(core.sealableBatches == 0)
    core.tick(moment(1_100))
    #expect(core.sealableBatches == 1)
    #expect(core.deadline == nil)
    let seal = try #require(try core.takeSeal())
    #expect(seal.batches[0].sealed == moment(1_100))
    #expect(seal.batches[0].count == 2)
    core.tick(moment(99_999))
    core.close(moment(99_999))
    #expect(try core.takeSeal() == nil)
  }

  @Test("What lies at and behind the open batch's first record waits for that batch's seal")
  func boundary() throws {
    var core = try makeCore(try makeSettings { $0.batch.maximumCount = 2 })
    core.process(
      block([unmatched, bad, reading(0), unmatched, bad, reading(1), unmatched, reading(2), bad, unmatched]),
      now: moment())
    let first = try #require(try core.takeSeal())
    #expect(first.state.checkpoint == Offset(7))
    #expect(first.unmatched == 3 && first.rejected == 2 && first.decoded == 2)
    #expect(first.rejections.map(\.offset.rawValue) == [1, 4])
    #expect(try core.takeSeal() == nil)
    core.skip(to: Offset(14), damaged: 4)
    #expect(try core.takeSeal() == nil)
    core.close(moment())
    let second = try #require(try core.takeSeal())
    #expect(second.state.checkpoint == Offset(14))
    #expect(second.unmatched == 1 && second.rejected == 1 && second.decoded == 1 && second.damaged == 4)
  }

  @Test("Without an open batch, unmatched, refused and damaged records move the checkpoint on their own")
  func nothingOpen() throws {
    var core = try makeCore(try makeSettings())
    #expect(try core.takeSeal() == nil)
    core.process(block([unmatched, bad, unmatched]), now: moment())
    core.skip(to: Offset(8), damaged: 5)
    core.skip(to: Offset(10), unmatched: 2)
    let seal = try #require(try core.takeSeal())
    #expect(seal.batches.isEmpty)
    #expect(seal.state.checkpoint == Offset(10))
    #expect(seal.unmatched == 4 && seal.rejected == 1 && seal.damaged == 5 && seal.decoded == 0)
    #expect(seal.state.nextSequence == 1 && seal.state.previousDigest == .zero)
  }

  @Test("Records before the read position are passed over, and missing ones are booked as damaged")
  func overlapsAndGaps() throws {
    var core = try makeCore(try makeSettings(), startState(3))
    core.process(block((0..<3).map(reading)), now: moment())
    #expect(core.readPosition == Offset(3) && core.openReadings == 0)
    core.process(block((0..<5).map(reading)), now: moment())
    #expect(core.openReadings == 2)
    core.process(block([reading(9)], first: 9), now: moment())
    core.skip(to: Offset(2), damaged: 7)
    core.close(moment())
    let seal = try #require(try core.takeSeal())
    #expect(try numbers(seal.batches[0]) == [3, 4, 9])
    #expect(seal.damaged == 4 && seal.decoded == 3)
    #expect(seal.state.checkpoint == Offset(10))
  }

  @Test("Batches name the one before by its digest, and sequences are dense")
  func chain() throws {
    var core = try makeCore(
      try makeSettings {
        $0.batch.maximumCount = 1; $0.batch.compression = .gzip
      })
    var previous = Digest.zero
    var sequence: Int64 = 1
    for n in 0..<3 {
      core.process(block([reading(2 * n), reading(2 * n + 1)], first: Int64(2 * n)), now: moment())
      let seal = try #require(try core.takeSeal())
      for batch in seal.batches {
        #expect(batch.identity.description == "gw-1/climate/\(Epoch(random: 42))/\(sequence)")
        #expect(batch.previous == previous)
        let body = try Gzip.decompress(batch.body, maximumOutput: batch.length)
        #expect(body.count == batch.length)
        #expect(
          batch.digest
            == Batch.digest(identity: batch.identity, previous: previous, count: batch.count, body: body))
        #expect(batch.version == core.version)
        previous = batch.digest
        sequence += 1
      }
      #expect(seal.state.previousDigest == previous)
      #expect(seal.state.nextSequence == sequence)
    }
    #expect(sequence == 7)
  }

  @Test("Batches that begin in a doubtful stretch are marked, until the checkpoint has passed it")
  func possibleDuplicates() throws {
    var state = startState()
    state.possibleDuplicateUntil = Offset(3)
    var core = try makeCore(try makeSettings { $0.batch.maximumCount = 2 }, state)
    core.process(block((0..<5).map(reading)), now: moment())
    let first = try #require(try core.takeSeal())
    #expect(first.batches.map(\.possibleDuplicate) == [true, true])
    #expect(first.state.possibleDuplicateUntil == nil)
    core.close(moment())
    #expect(try core.takeSeal()?.batches.map(\.possibleDuplicate) == [false])
  }

  @Test("Results of windows that hold readings of a doubtful stretch are marked, whenever they are made")
  func possibleDuplicateWindows() throws {
    var state = startState()
    state.possibleDuplicateUntil = Offset(2)
    var core = try makeCore(try WindowStageTests.settings(), state)
    // The third reading, beyond the stretch, closes the window that holds the first two.
    let readings = [1, 9, 12].map { WindowStageTests.reading($0, 4) }
    core.process(block(Array(readings[..<2])), now: moment())
    let silent = try #require(try core.takeSeal())
    #expect(silent.batches.isEmpty && silent.state.checkpoint == Offset(2))
    #expect(silent.state.possibleDuplicateUntil == Offset(2), "the window is still open")
    core.process(block([readings[2]], first: 2), now: moment(1))
    core.close(moment(1))
    let first = try #require(try core.takeSeal())
    #expect(first.batches.map(\.possibleDuplicate) == [true])
    #expect(first.state.possibleDuplicateUntil == nil, "what is open now began behind the stretch")
    core.process(block([WindowStageTests.reading(25, 4)], first: 3), now: moment(2))
    core.close(moment(2))
    #expect(try core.takeSeal()?.batches.map(\.possibleDuplicate) == [false])
  }

  @Test("A new log closes the open batch, which still names the old one")
  func newLog() throws {
    var core = try makeCore(try makeSettings())
    core.process(block([reading(0)]), now: moment())
    core.process(block([reading(1)], first: 1, log: logB), now: moment(5))
    let first = try #require(try core.takeSeal())
    #expect(first.batches.map(\.log) == [logA])
    #expect(first.state.log == logB && first.state.checkpoint == Offset(1))
    core.close(moment(6))
    #expect(try core.takeSeal()?.batches.map(\.log) == [logB])
  }

  @Test("Refused payloads behind an open batch close it before they pile up in memory")
  func heldRejections() throws {
    var core = try makeCore(try makeSettings { $0.batch.maximumBytes = 4_096 })
    let junk = message("sensors/p/climate", String(repeating: "x", count: 1_000))
    core.process(block([reading(0)] + Array(repeating: junk, count: 5)), now: moment())
    #expect(core.sealableBatches == 1)
    let seal = try #require(try core.takeSeal())
    #expect(seal.rejected == 5 && seal.state.checkpoint == Offset(6))
    #expect(core.sealableBytes == 0)
  }

  @Test("Interest follows the filters")
  func interest() throws {
    let core = try makeCore(try makeSettings(["a/+", "b/#"]))
    #expect(core.interested(in: Origin(source: "s", topic: "a/x")))
    #expect(core.interested(in: Origin(source: "s", topic: "b")))
    #expect(!core.interested(in: Origin(source: "s", topic: "a/x/y")))
  }

  @Test("Messages of sources that the pipeline does not read are unmatched")
  func sources() throws {
    var core = try makeCore(try makeSettings { $0.sources = ["roof"] })
    var other = reading(1)
    other.origin.source = "roof"
    core.process(block([reading(0), other]), now: moment())
    core.close(moment())
    let seal = try #require(try core.takeSeal())
    #expect(try numbers(seal.batches[0]) == [1])
    #expect(seal.unmatched == 1)
    #expect(core.interested(in: other.origin) && !core.interested(in: reading(0).origin))
  }

  @Test("The same records and ticks give the same seals, byte for byte", arguments: BatchCompression.allCases)
  func deterministic(compression: BatchCompression) throws {
    let settings = try makeSettings {
      $0.batch.maximumCount = 7
      $0.batch.compression = compression
    }
    func run() throws -> [Seal] {
      var core = try makeCore(settings)
      var seals: [Seal] = []
      for round in 0..<20 {
        let messages = (0..<5).map { ($0 + round) % 4 == 0 ? bad : reading(round * 5 + $0) }
        core.process(block(messages, first: Int64(round * 5)), now: moment(Int64(round) * 90))
        core.tick(moment(Int64(round) * 90 + 50))
        if let seal = try core.takeSeal() { seals.append(seal) }
      }
      core.close(moment(10_000))
      if let seal = try core.takeSeal() { seals.append(seal) }
      return seals
    }
    let seals = try run()
    #expect(seals.flatMap(\.batches).count > 10)
    #expect(try run() == seals)
  }
}

@Suite("Requeued dead letters")
struct RequeueTests {
  private func letter(_ id: Int64, _ payload: String, stage: Stage = .decode) -> DeadLetter {
    DeadLetter(
      id: id,
      rejection: Rejection(
        stage: stage, rule: "json.syntax", reason: "it was bad",
        origin: Origin(source: "floor", topic: "sensors/p/climate"), log: logA, offset: Offset(1),
        received: moment(), payload: Array(payload.utf8)))
  }

  @Test("A payload that decodes now becomes a reading, resolved in the seal that has its batch")
  func decode() throws {
    var core = try makeCore(try makeSettings(), startState(9))
    core.requeue(letter(5, #"{ "n" : 1 }"#), now: moment(3))
    #expect(core.openReadings == 1)
    #expect(try core.takeSeal() == nil)
    core.close(moment(4))
    let seal = try #require(try core.takeSeal())
    #expect(
      try linesOf(seal.batches[0]) == [#"{"key":"p","time":"2026-11-21T03:18:00Z","data":{"n":1}}"#])
    #expect(seal.batches[0].firstOffset == Offset(9) && seal.batches[0].lastOffset == Offset(9))
    #expect(seal.requeued == 1 && seal.produced == 0 && seal.decoded == 0)
    #expect(seal.resolvedDeadLetters == [5])
    #expect(seal.state.checkpoint == Offset(9))
  }

  @Test("A line that the upstream refused is appended as it is", arguments: ["", "\n"])
  func upstream(end: String) throws {
    var core = try makeCore(try makeSettings())
    let line = #"{"key":"old","time":"2020-01-01T00:00:00Z","data":{ "kept": 1 }}"#
    core.process(block([reading(0)]), now: moment())
    core.requeue(letter(8, line + end, stage: .upstream), now: moment())
    core.process(block([reading(1)], first: 1), now: moment())
    core.close(moment())
    let seal = try #require(try core.takeSeal())
    #expect(try linesOf(seal.batches[0])[1] == line)
    #expect(seal.batches[0].count == 3)
    #expect(seal.batches[0].firstOffset == Offset(0) && seal.batches[0].lastOffset == Offset(1))
    #expect(seal.requeued == 1 && seal.produced == 2 && seal.resolvedDeadLetters == [8])
  }

  @Test("What is refused once more comes back with the new reason and changes no column")
  func refusedAgain() throws {
    var core = try makeCore(try makeSettings())
    core.process(block([reading(0)]), now: moment())
    core.requeue(letter(1, "[]"), now: moment())
    core.requeue(letter(2, "one\ntwo", stage: .upstream), now: moment())
    core.requeue(letter(3, "", stage: .upstream), now: moment())
    var foreign = letter(4, "{}")
    foreign.rejection.origin.topic = "elsewhere"
    core.requeue(foreign, now: moment())
    let seal = try #require(try core.takeSeal())
    #expect(seal.refusedAgain.map(\.id) == [1, 2, 3, 4])
    #expect(
      seal.refusedAgain.map(\.rejection.rule)
        == ["json.not-object", "line.malformed", "line.malformed", "topic.unmatched"])
    #expect(seal.refusedAgain[0].rejection.payload == Array("[]".utf8))
    #expect(seal.rejected == 0 && seal.requeued == 0 && seal.batches.isEmpty)
    #expect(seal.state.checkpoint == Offset(0))
    #expect(try core.takeSeal() == nil)
  }

  @Test("A letter that already waits is left alone")
  func twice() throws {
    var core = try makeCore(try makeSettings { $0.batch.maximumCount = 2 })
    core.requeue(letter(1, "{}"), now: moment())
    core.requeue(letter(1, "{}"), now: moment())
    #expect(core.openReadings == 1)
    core.requeue(letter(2, "{}"), now: moment())
    core.requeue(letter(2, "{}"), now: moment())
    #expect(core.openReadings == 0 && core.sealableBatches == 1)
    core.requeue(letter(3, "[]"), now: moment())
    core.requeue(letter(3, "[]"), now: moment())
    let seal = try core.takeSeal()
    #expect(seal?.resolvedDeadLetters == [1, 2])
    #expect(seal?.refusedAgain.map(\.id) == [3])
  }
}
