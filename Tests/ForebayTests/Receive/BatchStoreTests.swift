import Glibc
import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite struct BatchStoreTests {
  private let directory: TemporaryDirectory
  private var layout: BatchStoreLayout { BatchStoreLayout(directory: directory.path) }

  init() throws { directory = try TemporaryDirectory("receiver") }

  private func write(_ bytes: [UInt8]) throws {
    let file = open(layout.records, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    try #require(file >= 0)
    defer { close(file) }
    #expect(Glibc.write(file, bytes, bytes.count) == bytes.count)
  }

  private func size() -> Int {
    var status = stat()
    return stat(layout.records, &status) == 0 ? Int(status.st_size) : -1
  }

  private func records() throws -> [BatchRecord] {
    let chain = try FixtureBatch.chain([3, 4, 2])
    return [
      try chain[0].record(compression: .gzip), try chain[1].part(1, of: 2).record(),
      chain[2].refusal(), try chain[1].record(lines: [2..<4], compression: .zstd),
    ]
  }

  @Test("a store that is torn at any byte opens with the records before the tear, and goes on")
  func torn() throws {
    let records = try records()
    var bytes = BatchRecord.fileHeader
    var ends = [bytes.count]
    var memories = [ReceiverMemory()]
    for record in records {
      record.write(to: &bytes)
      ends.append(bytes.count)
      var memory = memories[memories.count - 1]
      switch record.outcome {
      case .taken(let lines): memory.take(record.label, lines: lines)
      case .refused: memory.refuse(record.label)
      }
      memories.append(memory)
    }
    let last = try FixtureBatch.chain([1, 1, 1, 1, 1], pipeline: "other")[0].record()
    var addition: [UInt8] = []
    last.write(to: &addition)
    for length in 0...bytes.count {
      try write(Array(bytes[..<length]))
      let whole = ends.lastIndex { $0 <= length } ?? 0
      do {
        let (file, memory, opening) = try StoreWriter.open(layout)
        #expect(memory == memories[whole], "torn at \(length)")
        #expect(opening.records == whole)
        #expect(opening.damaged.isEmpty)
        #expect((opening.torn == nil) == ends.contains(length) || length < ends[0])
        #expect(size() == ends[whole])
        try file.append(addition)
      }
      let (_, memory, opening) = try StoreWriter.open(layout)
      #expect(opening.records == whole + 1)
      #expect(memory.decide(last.label) == .hasIt)
    }
  }

  @Test("a byte that changed in the middle of the file is reported with its place, and the rest is read")
  func damaged() throws {
    let records = try records()
    var bytes = BatchRecord.fileHeader
    records[0].write(to: &bytes)
    let start = bytes.count
    records[1].write(to: &bytes)
    let end = bytes.count
    records[2].write(to: &bytes)
    for place in start..<end {
      var broken = bytes
      broken[place] ^= 0x20
      try write(broken)
      let reader = try BatchStoreReader(path: layout.records)
      var items: [BatchStoreReader.Item] = []
      while let item = try reader.next() { items.append(item) }
      try #require(items.count == 3, "changed at \(place)")
      #expect(items[0] == .record(records[0], at: Int64(BatchRecord.fileHeader.count)))
      guard case .damage(let range, _) = items[1] else {
        Issue.record("changed at \(place): \(items[1])")
        continue
      }
      #expect(range == Int64(start)..<Int64(end))
      #expect(items[2] == .record(records[2], at: Int64(end)))
    }
    let report = try StoreReading(layout: layout).verify()
    #expect(report.damaged == [Int64(start)..<Int64(end)])
    #expect(!report.isComplete)
    // The receiver starts on it all the same, and cuts nothing off.
    let (_, _, opening) = try StoreWriter.open(layout)
    #expect(opening.damaged == report.damaged && opening.torn == nil)
    #expect(size() == bytes.count)
  }

  @Test("a file that is no store is refused and left alone")
  func foreign() throws {
    try directory.write("timestamp,value\n2013-12-02 21:15:00,1\n", to: "batches.log")
    let before = size()
    #expect(throws: BatchStoreError.self) { _ = try StoreWriter.open(layout) }
    #expect(size() == before)
  }

  @Test("two receivers cannot have one store")
  func locked() throws {
    let first = try BatchStoreFile(layout: layout)
    let error = #expect(throws: BatchStoreError.self) { _ = try BatchStoreFile(layout: layout) }
    #expect(error?.operation == "lock" && error?.path == layout.records)
    withExtendedLifetime(first) {}
  }

  @Test("a store that cannot be made is an error that names the path and the cause")
  func unwritable() throws {
    try directory.write("", to: "file")
    let below = BatchStoreLayout(directory: directory.file("file/store"))
    let error = #expect(throws: BatchStoreError.self) { _ = try StoreWriter.open(below) }
    #expect(error?.description.contains(below.directory) == true)
    #expect(error?.cause == "Not a directory")
  }
}
