import Compression
import Glibc
import Spool
import Telemetry

// spool-bench FOLDER QUEUED ROUNDS: what a long queue costs the spool.
//
// Fills one spool with a thousand queued messages and one with QUEUED, both as the daemon would: groups of a
// thousand 200-byte messages appended, each sealed as one batch that nobody confirms. Then rounds alternate
// between the two: append a group, seal it, and confirm the oldest batch, so that both queues stay as long as
// they are. Prints one JSON object with the median times in nanoseconds and the median of the rounds' ratios.

/// Readings in a group and in a batch: what 256 KiB of lines hold.
private let share = 1000
private let pipeline = "bench"

/// A spool with so many messages in its outbox.
private final class Queue {
  private let spool: Spool
  private var state: PipelineState
  private var appended = 0
  private let body: [UInt8]
  private let length: Int

  init(_ folder: String, messages: Int) throws {
    var seed: UInt64 = 1
    let random = {
      seed &+= 0x9E37_79B9_7F4A_7C15
      return seed
    }
    spool = try Spool.open(
      SpoolSettings(directory: folder), machine: Machine(id: "bench"), now: Queue.now(), random: random)
    let registered = try spool.register(
      [PipelineRegistration(name: pipeline, uplink: "upstream", version: "1")], configuration: [],
      gateway: "bench", wall: Queue.now().wall, random: random)
    guard let state = registered.states[pipeline] else { throw Trouble(text: "the pipeline was not registered") }
    self.state = state
    let lines = (0..<share).flatMap { number in
      Array("{\"key\":\"\(Queue.device(number))\",\"data\":".utf8) + Queue.payload(number) + Array("}\n".utf8)
    }
    length = lines.count
    body = try Gzip.compress(lines)
    for _ in 0..<messages / share {
      let group = nextGroup()
      try append(group)
      try seal(nextBatch())
    }
  }

  private static func device(_ number: Int) -> String { "pump-\(100 + number % 200)" }

  private static func payload(_ number: Int) -> [UInt8] {
    // The value wanders as a measured one does; the note is what devices repeat.
    let value = Double(number &* 7919 % 10_007) / 1000
    var text = Array("{\"device\":\"\(device(number))\",\"seq\":\(number),\"value\":\(value),\"note\":\"".utf8)
    while text.count < 198 { text.append(UInt8(ascii: "a") + UInt8(text.count % 23)) }
    return text + Array("\"}".utf8)
  }

  private static func now() -> Moment {
    Moment(
      boot: BootID(high: 1, low: 1), monotonic: clock(CLOCK_MONOTONIC), wall: clock(CLOCK_REALTIME),
      quality: .synchronised)
  }

  func nextGroup() -> MessageGroup {
    let now = Queue.now()
    var group = MessageGroup(boot: now.boot)
    for number in appended..<appended + share {
      group.append(
        Message(
          origin: Origin(source: "broker", topic: "sensors/\(Queue.device(number))/temperature"),
          payload: Queue.payload(number), qos: .atLeastOnce, packetID: UInt16(number % 65_535 + 1), received: now))
    }
    return group
  }

  func append(_ group: MessageGroup) throws {
    _ = try spool.log.append(group)
    appended += group.count
  }

  /// The batch of the messages that were appended last.
  func nextBatch() -> Batch {
    let identity = BatchIdentity(
      gateway: "bench", pipeline: pipeline, epoch: state.epoch, sequence: state.nextSequence)
    return Batch(
      identity: identity, version: "1", log: state.log, firstOffset: state.checkpoint,
      lastOffset: state.checkpoint + (share - 1), count: share, encoding: .ndjson, compression: .gzip, body: body,
      length: length,
      digest: Batch.digest(identity: identity, previous: state.previousDigest, count: share, body: body),
      previous: state.previousDigest, sealed: Queue.now())
  }

  func seal(_ batch: Batch) throws {
    state.nextSequence += 1
    state.previousDigest = batch.digest
    state.checkpoint = batch.lastOffset + 1
    try spool.state.seal(
      Seal(
        batches: [batch],
        counters: .init {
          $0.decoded = Int64(share)
          $0.produced = Int64(share)
        }, state: state), pipeline: pipeline)
  }

  func confirmOldest() throws {
    try spool.state.confirm(try spool.state.outbox(pipelines: [pipeline], after: nil, limit: 1).map(\.id))
  }
}

private struct Trouble: Error {
  var text: String
}

private func clock(_ clock: clockid_t) -> Int64 {
  var time = timespec()
  clock_gettime(clock, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

private func median<Value: Comparable>(_ values: [Value]) -> Value { values.sorted()[values.count / 2] }

/// Times of the two spools, round by round.
private struct Series {
  var few: [Int64] = []
  var many: [Int64] = []

  var json: String {
    let ratio = median(zip(few, many).map { Double($1) / Double($0) })
    return "{\"few_ns\":\(median(few)),\"many_ns\":\(median(many)),\"ratio\":\(ratio)}"
  }
}

@main
struct SpoolBench {
  static func main() throws {
    let arguments = CommandLine.arguments
    guard arguments.count == 4, let queued = Int(arguments[2]), let rounds = Int(arguments[3]), rounds > 0 else {
      print("usage: spool-bench FOLDER QUEUED ROUNDS")
      exit(64)
    }
    let few = try Queue(arguments[1] + "/few", messages: share)
    let many = try Queue(arguments[1] + "/many", messages: queued)
    var append = Series()
    var seal = Series()
    for round in 0..<rounds {
      // Whoever comes second may find the disk busy with the first one's doings: take turns.
      for queue in round % 2 == 0 ? [few, many] : [many, few] {
        let group = queue.nextGroup()
        let begun = clock(CLOCK_MONOTONIC)
        try queue.append(group)
        let appended = clock(CLOCK_MONOTONIC)
        let batch = queue.nextBatch()
        let sealing = clock(CLOCK_MONOTONIC)
        try queue.seal(batch)
        let sealed = clock(CLOCK_MONOTONIC)
        try queue.confirmOldest()
        if queue === few {
          append.few.append(appended - begun)
          seal.few.append(sealed - sealing)
        } else {
          append.many.append(appended - begun)
          seal.many.append(sealed - sealing)
        }
      }
    }
    print("{\"append\":\(append.json),\"seal\":\(seal.json)}")
  }
}
