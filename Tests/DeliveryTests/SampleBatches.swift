import Compression
import Delivery
import Glibc
import Synchronization
import Telemetry

/// Batches as a pipeline seals them.
enum Sample {
  static let epoch = Epoch(random: 0x0123_4567_89ab_cdef)
  static let moment = Moment(
    boot: BootID(high: 1, low: 2), monotonic: 1, wall: 1_700_000_000_000_000_000, quality: .synchronised)

  static func batch(
    _ sequence: Int64, pipeline: String = "climate", count: Int = 3, previous: Digest = .zero,
    compression: BatchCompression = .gzip, encoding: BatchEncoding = .ndjson, epoch: Epoch = Sample.epoch,
    text: String? = nil
  ) -> Batch {
    let body = Array((text ?? (0..<count).map { #"{"n":\#(sequence),"line":\#($0)}"# + "\n" }.joined()).utf8)
    let identity = BatchIdentity(
      gateway: "gw-1", pipeline: pipeline, epoch: epoch, sequence: sequence)
    let encoded = encoding == .columns ? Columns.encode(body) ?? [] : body
    let wire =
      switch compression {
      case .none: encoded
      case .gzip: (try? Gzip.compress(encoded)) ?? []
      case .zstd: (try? Zstd.compress(encoded)) ?? []
      }
    return Batch(
      identity: identity, version: "v1", log: LogID(rawValue: "00000000000000aa"),
      firstOffset: Offset(sequence * 10), lastOffset: Offset(sequence * 10 + 2), count: count,
      encoding: encoding, compression: compression, body: wire, length: body.count,
      digest: Batch.digest(identity: identity, previous: previous, count: count, body: body),
      previous: previous, sealed: moment)
  }

  static func uplink(
    _ url: String, timeout: Int64 = 10_000_000_000, change: (inout UplinkSettings.HTTP) -> Void = { _ in }
  ) -> HTTPUplink {
    var settings = UplinkSettings.HTTP(url: url)
    settings.timeout = timeout
    change(&settings)
    return HTTPUplink(settings: settings, concurrency: 4, version: "0.0.1", wall: wall)
  }

  /// Linked to each other from sequence 1.
  static func chain(
    _ length: Int, pipeline: String = "climate", count: Int = 3, compression: BatchCompression = .gzip,
    encoding: BatchEncoding = .ndjson
  ) -> [Batch] {
    var previous = Digest.zero
    return (1...length).map { sequence in
      let batch = batch(
        Int64(sequence), pipeline: pipeline, count: count, previous: previous, compression: compression,
        encoding: encoding)
      previous = batch.digest
      return batch
    }
  }
}

/// An outbox in memory that keeps the rules of the durable one, and records what was set aside.
final class MemoryOutbox: Outbox {
  struct Refusal: Sendable, Hashable {
    var line: String
    var rule: String
    var reason: String
  }
  struct Closed: Error {}

  private struct State {
    var entries: [OutboxEntry] = []
    var nextID: Int64 = 1
    var nextPlace: Int64 = 1
    var confirmed: [Batch] = []
    var setAside: [Refusal] = []
    var isClosed = false
    var refusals = 0
    var largestFetch = 0

    mutating func refuseIfClosed() throws {
      guard isClosed else { return }
      refusals += 1
      throw Closed()
    }
  }
  private let state = Mutex(State())

  init(_ batches: [Batch] = []) { batches.forEach(append) }

  func append(_ batch: Batch) {
    state.withLock { state in
      state.entries.append(
        OutboxEntry(
          id: state.nextID, position: OutboxPosition(place: state.nextPlace, line: 0), batch: batch))
      state.nextID += 1
      state.nextPlace += 1
    }
  }

  var isEmpty: Bool { state.withLock { $0.entries.isEmpty } }
  var confirmed: [Batch] { state.withLock { $0.confirmed } }
  var setAside: [Refusal] { state.withLock { $0.setAside } }
  var waiting: [OutboxEntry] { state.withLock { $0.entries } }
  var largestFetch: Int { state.withLock { $0.largestFetch } }
  /// Calls that found it closed.
  var refusals: Int { state.withLock { $0.refusals } }
  func close(_ closed: Bool) { state.withLock { $0.isClosed = closed } }

  func entries(
    uplink: String, after: OutboxPosition?, excluding: Set<String>, limit: Int
  ) throws -> [OutboxEntry] {
    try state.withLock { state in
      try state.refuseIfClosed()
      state.largestFetch = max(state.largestFetch, limit)
      let rest = state.entries.lazy.filter { entry in
        (after.map { $0 < entry.position } ?? true)
          && !excluding.contains(entry.batch.identity.pipeline)
      }
      return Array(rest.prefix(limit))
    }
  }

  func confirm(_ ids: [Int64]) throws {
    try state.withLock { state in
      try state.refuseIfClosed()
      for id in ids {
        guard let index = state.entries.firstIndex(where: { $0.id == id }) else { continue }
        state.confirmed.append(state.entries.remove(at: index).batch)
      }
    }
  }

  func split(_ id: Int64, into parts: [Batch]) throws {
    try state.withLock { state in
      guard !state.isClosed, let index = state.entries.firstIndex(where: { $0.id == id }) else {
        throw Closed()
      }
      let place = state.entries[index].position.place
      let entries = parts.map { part in
        let line = part.identity.part?.lines(of: part.parent?.count ?? 0).lowerBound ?? 0
        defer { state.nextID += 1 }
        return OutboxEntry(
          id: state.nextID, position: OutboxPosition(place: place, line: Int64(line)), batch: part)
      }
      state.entries.replaceSubrange(index...index, with: entries)
    }
  }

  func setAside(_ id: Int64, rule: String, reason: String) throws {
    try state.withLock { state in
      guard !state.isClosed, let index = state.entries.firstIndex(where: { $0.id == id }),
        state.entries[index].batch.count == 1
      else { throw Closed() }
      let batch = state.entries.remove(at: index).batch
      let text = String(decoding: try Splitting.body(of: batch), as: UTF8.self)
      state.setAside.append(Refusal(line: text, rule: rule, reason: reason))
    }
  }
}

extension Uplink {
  /// For tests that do not count bytes.
  func send(_ batch: Batch, attempt: Int) async -> Answer {
    await send(batch, attempt: attempt, wrote: { _ in })
  }
}

/// Bytes that an uplink says it sent.
final class Written: Sendable {
  private let bytes = Mutex(0)
  var total: Int { bytes.withLock { $0 } }
  @Sendable func add(_ count: Int) { bytes.withLock { $0 += count } }
}

let monotonic: @Sendable () -> Int64 = {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

let wall: @Sendable () -> Int64 = {
  var time = timespec()
  clock_gettime(CLOCK_REALTIME, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

enum Files {
  /// The readings in the uncompressed content of a finished file of a file uplink, without line feeds.
  static func lines(_ content: [UInt8], named name: String) throws -> [String] {
    var text = content
    if name.contains(".columns") {
      let batches = content.split(separator: UInt8(ascii: "\n"))
      text = try batches.flatMap { try Columns.decode($0 + [UInt8(ascii: "\n")], maximumOutput: 1 << 24).lines }
    }
    return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  static func read(_ path: String) -> [UInt8] {
    guard let file = fopen(path, "r") else { return [] }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
    return bytes
  }

  static func write(_ bytes: [UInt8], to path: String) {
    guard let file = fopen(path, "w") else { return }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
  }

  static func write(_ text: String, to path: String) { write(Array(text.utf8), to: path) }
}
