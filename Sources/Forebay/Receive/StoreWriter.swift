import Failpoints
import Glibc
import NIOPosix
import Synchronization
import Telemetry

/// Decides about batches and records them, in the order in which they were submitted.
///
/// One thread does it. What arrives while it waits for the disk forms the next group, which is
/// appended and fsynced at once: so the fsync is paid per group, however many senders there are.
final class StoreWriter: Sendable {
  enum Request: Sendable {
    /// A batch whose body was found to be what its label says.
    case batch(BatchLabel, wire: [UInt8])
    /// A batch that is refused for good.
    case refusal(BatchLabel, ReceiverRefusal)
  }

  enum Outcome: Sendable, Hashable {
    /// Recorded; this many readings were new.
    case taken(readings: Int)
    /// Nothing of it is new.
    case hasIt
    case conflict(held: Digest)
    case brokenLink(held: Digest)
    case refusalRecorded
    /// Nothing is recorded, because the disk failed.
    case failed(BatchStoreError)
  }

  /// What was found in the file when it was opened.
  struct Opening: Sendable, Hashable {
    var records = 0
    /// Records that could not be read in the middle of the file.
    var damaged: [Range<Int64>] = []
    /// Bytes that were cut off the end.
    var torn: Range<Int64>?
  }

  private struct Waiting {
    var request: Request
    var done: @Sendable (Outcome) -> Void
  }

  private struct Queue {
    var waiting: [Waiting] = []
    /// Whether the thread works or is about to.
    var running = false
  }

  /// Only the writing thread takes this lock once the writer is open.
  private struct Disk {
    /// Nil after a failure, until the file was opened and read anew.
    var file: BatchStoreFile?
    var memory: ReceiverMemory
  }

  let opening: Opening
  private let layout: BatchStoreLayout
  private let write: BatchStoreFile.Write
  private let now: @Sendable () -> Int64
  private let thread: NIOThreadPool
  private let queue = Mutex(Queue())
  private let disk: Mutex<Disk>

  /// Opens the store, cuts off a torn tail and rebuilds the memory from the records.
  ///
  /// - Parameter now: milliseconds since 1970-01-01T00:00:00Z.
  init(
    layout: BatchStoreLayout, write: @escaping BatchStoreFile.Write = BatchStoreFile.systemWrite,
    now: @escaping @Sendable () -> Int64
  ) throws(BatchStoreError) {
    self.layout = layout
    self.write = write
    self.now = now
    let (file, memory, opening) = try StoreWriter.open(layout, write: write)
    self.opening = opening
    disk = Mutex(Disk(file: file, memory: memory))
    thread = NIOThreadPool(numberOfThreads: 1)
    thread.start()
  }

  /// Opens the file, cuts off a torn tail, and replays the records.
  static func open(
    _ layout: BatchStoreLayout, write: @escaping BatchStoreFile.Write = BatchStoreFile.systemWrite
  ) throws(BatchStoreError) -> (BatchStoreFile, ReceiverMemory, Opening) {
    let file = try BatchStoreFile(layout: layout, write: write)
    let reader = try BatchStoreReader(path: layout.records)
    var memory = ReceiverMemory()
    var opening = Opening()
    while let item = try reader.next() {
      switch item {
      case .record(let record, _):
        opening.records += 1
        switch record.outcome {
        case .taken(let lines): memory.take(record.label, lines: lines)
        case .refused: memory.refuse(record.label)
        }
      case .damage(let range, _): opening.damaged.append(range)
      case .tail(let range):
        opening.torn = range
        try file.cut(to: range.lowerBound)
      }
    }
    return (file, memory, opening)
  }

  /// Calls `done` on the writing thread, once the answer is on the disk.
  func submit(_ request: Request, done: @escaping @Sendable (Outcome) -> Void) {
    let start = queue.withLock { queue in
      queue.waiting.append(Waiting(request: request, done: done))
      defer { queue.running = true }
      return !queue.running
    }
    if start {
      thread.submit { [self] state in
        if state == .active { drain() } else { abandon() }
      }
    }
  }

  /// Ends the thread once what was submitted is done.
  func close() async throws {
    try await thread.shutdownGracefully()
  }

  /// The memory as it is now, for reports.
  var memory: ReceiverMemory { disk.withLock { $0.memory } }

  private func next() -> [Waiting] {
    queue.withLock { queue in
      let group = queue.waiting
      queue.waiting = []
      queue.running = !group.isEmpty
      return group
    }
  }

  private func drain() {
    while true {
      let group = next()
      if group.isEmpty { return }
      let outcomes = disk.withLock { commit(group.map(\.request), disk: &$0) }
      for (waiting, outcome) in zip(group, outcomes) { waiting.done(outcome) }
    }
  }

  /// The pool was shut down before the group's turn came.
  private func abandon() {
    let error = BatchStoreError(
      operation: "append to", path: layout.records, cause: "the receiver is stopping")
    while true {
      let group = next()
      if group.isEmpty { return }
      for waiting in group { waiting.done(.failed(error)) }
    }
  }

  private func commit(_ requests: [Request], disk: inout Disk) -> [Outcome] {
    do {
      if disk.file == nil {
        let (file, memory, _) = try StoreWriter.open(layout, write: write)
        disk = Disk(file: file, memory: memory)
      }
      var bytes: [UInt8] = []
      let received = now()
      let outcomes = requests.map { decide($0, received: received, memory: &disk.memory, &bytes) }
      Failpoints.batchReceived()
      if !bytes.isEmpty { try disk.file?.append(bytes) }
      Failpoints.batchStored()
      return outcomes
    } catch {
      // The memory is ahead of the disk now, and the file's end unknown: both are read anew. The
      // bytes of a failed group that did reach the disk were not acknowledged, but they are whole
      // and verified records, so to keep them is right: their senders will be told "has it".
      disk.file = nil
      return requests.map { _ in .failed(error) }
    }
  }

  private func decide(
    _ request: Request, received: Int64, memory: inout ReceiverMemory, _ bytes: inout [UInt8]
  ) -> Outcome {
    switch request {
    case .refusal(let label, let refusal):
      memory.refuse(label)
      BatchRecord(
        label: label,
        outcome: .refused(status: refusal.status, reason: "\(refusal.error): \(refusal.reason)"),
        received: received, body: []
      ).write(to: &bytes)
      return .refusalRecorded
    case .batch(let label, let wire):
      let lines: [Range<Int>]
      switch memory.decide(label) {
      case .new: lines = [0..<label.count]
      case .takeLines(let lacking): lines = lacking
      case .hasIt: return .hasIt
      case .conflict(let held): return .conflict(held: held)
      case .brokenLink(let held): return .brokenLink(held: held)
      }
      memory.take(label, lines: lines)
      BatchRecord(label: label, outcome: .taken(lines), received: received, body: wire)
        .write(to: &bytes)
      return .taken(readings: lines.reduce(0) { $0 + $1.count })
    }
  }
}
