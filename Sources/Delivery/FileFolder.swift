import Glibc
import Telemetry

// The files of one pipeline, below the directory of the uplink:
//
//   NAME                           finished files: batches one after the other, as compressed
//   .forebay/PIPELINE/index        what has been taken, as of the last finished file (FileIndex.swift)
//   .forebay/PIPELINE/G.part       the open file
//   .forebay/PIPELINE/G.journal    what is in it
//
// A batch is taken by writing its bytes to G.part, sync, a line to G.journal, sync: killed at any byte
// before that line is whole, it is cut off at the next opening and was never answered for. A file is
// finished by replacing the index with one that names it and includes its journal, and then renaming
// it: killed in between, the next opening does the rename. So each line of a batch is in exactly one
// file, once, also after whoever consumes the finished files has taken them away.

/// One pipeline's files. Not for two threads at a time.
struct FileFolder {
  fileprivate struct OpenFile {
    var head: FileJournal.Head
    var part: CInt
    var journal: CInt
    var length: Int
    var journalLength: Int
    var sequences: ClosedRange<Int64>?
  }

  /// A pipeline, or the book of one of its replays (``Batch/book``).
  let pipeline: String
  /// Where finished files appear.
  private let directory: String
  private let folder: String
  private let disk: DiskCalls
  private var index: FileIndex
  private var open: OpenFile?

  static func hidden(_ directory: String) -> String { "\(directory)/.forebay" }

  private var partPath: String { "\(folder)/\(index.generation).part" }
  private var journalPath: String { "\(folder)/\(index.generation).journal" }
  private var indexPath: String { "\(folder)/index" }

  /// When the open file was begun, in nanoseconds since 1970; nil: none is open.
  var begun: Int64? { open?.head.wall }

  /// Opens what there is, and mends what an end without warning has left.
  init(pipeline: String, directory: String, disk: DiskCalls) throws(DiskError) {
    self.pipeline = pipeline
    self.directory = directory
    self.disk = disk
    folder = "\(FileFolder.hidden(directory))/\(pipeline)"
    try disk.makeDirectory(folder)
    let path = "\(folder)/index"
    if let bytes = try disk.contents(path) {
      guard let index = FileIndex(bytes) else {
        throw DiskError(
          "read", path,
          cause: "it is damaged; move the folder away to begin anew, without protection against "
            + "repeating what is in flight")
      }
      self.index = index
    } else {
      index = FileIndex()
    }
    if let finishing = index.finishing { try complete(finishing) }
    try openExisting()
  }

  private mutating func openExisting() throws(DiskError) {
    guard disk.exists(journalPath) else { return try disk.unlink(partPath) }
    guard let journal = FileJournal(try disk.contents(journalPath) ?? []) else {
      // Torn before its first line was whole: nothing was answered for.
      try disk.unlink(partPath)
      return try disk.unlink(journalPath)
    }
    let part = try disk.open(partPath, create: false)
    var file = OpenFile(
      head: journal.head, part: part, journal: -1, length: journal.entries.last?.end ?? 0,
      journalLength: journal.length)
    do throws(DiskError) {
      guard try disk.length(part, partPath) >= file.length else {
        throw DiskError(
          "continue", partPath, cause: "it is shorter than its journal says: the disk has lost data")
      }
      try disk.truncate(part, to: file.length, partPath)
      file.journal = try disk.open(journalPath, create: false)
      try disk.truncate(file.journal, to: file.journalLength, journalPath)
      try disk.sync(part, partPath)
      try disk.sync(file.journal, journalPath)
    } catch {
      Glibc.close(part)
      if file.journal >= 0 { Glibc.close(file.journal) }
      throw error
    }
    for entry in journal.entries {
      index.taken.take(journal.head.key, sequence: entry.sequence, whole: entry.whole, lines: entry.lines)
      file.include(entry.sequence)
    }
    open = file
  }

  func verdict(on batch: Batch) -> TakenBatches.Verdict { index.taken.verdict(on: batch) }

  /// Appends lines of a batch that are not there yet. After an error the folder must be closed and
  /// opened anew.
  /// - Parameters:
  ///   - body: these lines, encoded and compressed as the batch is.
  ///   - wall: nanoseconds since 1970.
  mutating func take(
    _ batch: Batch, lines: RangeSet<Int>, body: [UInt8], wall: Int64
  ) throws(DiskError) {
    let key = TakenBatches.Key(gateway: batch.identity.gateway, epoch: batch.identity.epoch)
    if let head = open?.head,
      head.key != key || head.encoding != batch.encoding || head.compression != batch.compression
    {
      try finish()
    }
    var file: OpenFile
    if let open {
      file = open
    } else {
      file = try begin(.init(key: key, encoding: batch.encoding, compression: batch.compression, wall: wall))
    }
    let entry = FileJournal.Entry(
      end: file.length + body.count, sequence: batch.identity.sequence,
      whole: Splitting.parent(of: batch), lines: lines)
    let line = entry.encoded()
    do throws(DiskError) {
      try disk.write(body, to: file.part, at: file.length, partPath)
      try disk.sync(file.part, partPath)
      try disk.write(line, to: file.journal, at: file.journalLength, journalPath)
      try disk.sync(file.journal, journalPath)
    } catch {
      // Gives the room back at once. If that fails too, the next opening does it.
      try? disk.truncate(file.journal, to: file.journalLength, journalPath)
      try? disk.truncate(file.part, to: file.length, partPath)
      throw error
    }
    file.length = entry.end
    file.journalLength += line.count
    file.include(entry.sequence)
    open = file
    index.taken.take(key, sequence: entry.sequence, whole: entry.whole, lines: lines)
  }

  private mutating func begin(_ head: FileJournal.Head) throws(DiskError) -> OpenFile {
    let part = try disk.open(partPath, create: true)
    var file = OpenFile(head: head, part: part, journal: -1, length: 0, journalLength: 0)
    do throws(DiskError) {
      file.journal = try disk.open(journalPath, create: true)
      let line = head.encoded()
      try disk.write(line, to: file.journal, at: 0, journalPath)
      try disk.sync(file.journal, journalPath)
      try disk.syncDirectory(folder)
      file.journalLength = line.count
    } catch {
      Glibc.close(part)
      if file.journal >= 0 { Glibc.close(file.journal) }
      throw error
    }
    open = file
    return file
  }

  /// Whether the open file is to be finished.
  func isDue(_ settings: UplinkSettings.File, wall: Int64) -> Bool {
    guard let open, open.length > 0 else { return false }
    return open.length >= settings.maximumBytes || wall - open.head.wall >= settings.maximumAge
      // The clock went back: its age is not known.
      || open.head.wall - wall > settings.maximumAge
  }

  /// Finishes the open file, if there is one with anything in it.
  mutating func finish() throws(DiskError) {
    guard let file = open, let sequences = file.sequences else { return }
    var next = index
    let finishing = FileIndex.Finishing(
      generation: index.generation, name: name(of: file, sequences))
    next.generation += 1
    next.finishing = finishing
    let temporary = "\(indexPath).new"
    let descriptor = try disk.open(temporary, create: true)
    do throws(DiskError) {
      let bytes = next.encoded()
      try disk.truncate(descriptor, to: 0, temporary)
      try disk.write(bytes, to: descriptor, at: 0, temporary)
      try disk.sync(descriptor, temporary)
    } catch {
      Glibc.close(descriptor)
      throw error
    }
    Glibc.close(descriptor)
    try disk.rename(temporary, to: indexPath)
    try disk.syncDirectory(folder)
    close()
    index = next
    try complete(finishing)
  }

  private func complete(_ finishing: FileIndex.Finishing) throws(DiskError) {
    let part = "\(folder)/\(finishing.generation).part"
    if disk.exists(part) {
      try disk.rename(part, to: "\(directory)/\(finishing.name)")
      try disk.syncDirectory(directory)
      try disk.syncDirectory(folder)
    }
    try disk.unlink("\(folder)/\(finishing.generation).journal")
  }

  /// `20261121T034607.123Z~GATEWAY~PIPELINE~EPOCH~FIRST-LAST.ndjson.gz`, or `.columns.gz`, of a replay with
  /// `~replay-ID` behind LAST: names sort by the time at which the file was begun. A name that is taken already moves
  /// by a millisecond.
  private func name(of file: OpenFile, _ sequences: ClosedRange<Int64>) -> String {
    let suffix =
      switch file.head.compression {
      case .none: file.head.encoding.rawValue
      case .gzip: file.head.encoding.rawValue + ".gz"
      case .zstd: file.head.encoding.rawValue + ".zst"
      }
    let book = ReplayID.parse(book: pipeline)
    let replay = book.map { "~replay-\($0.replay)" } ?? ""
    var milliseconds = file.head.wall / 1_000_000
    while true {
      let name =
        "\(FileFolder.timestamp(milliseconds))~\(file.head.key.gateway)~\(book?.pipeline ?? pipeline)"
        + "~\(file.head.key.epoch)~\(sequences.lowerBound)-\(sequences.upperBound)\(replay).\(suffix)"
      if !disk.exists("\(directory)/\(name)") { return name }
      milliseconds += 1
    }
  }

  private static func timestamp(_ milliseconds: Int64) -> String {
    var seconds = time_t(milliseconds / 1000)
    var fields = tm()
    gmtime_r(&seconds, &fields)
    func padded(_ value: Int, _ width: Int) -> String {
      String(repeating: "0", count: max(0, width - String(value).count)) + String(value)
    }
    let date =
      padded(Int(fields.tm_year) + 1900, 4) + padded(Int(fields.tm_mon) + 1, 2) + padded(Int(fields.tm_mday), 2)
    let time = padded(Int(fields.tm_hour), 2) + padded(Int(fields.tm_min), 2) + padded(Int(fields.tm_sec), 2)
    return "\(date)T\(time).\(padded(Int(milliseconds % 1000), 3))Z"
  }

  /// Closes the descriptors. The open file goes on at the next opening.
  mutating func close() {
    guard let file = open else { return }
    Glibc.close(file.part)
    Glibc.close(file.journal)
    open = nil
  }
}

extension FileFolder.OpenFile {
  fileprivate mutating func include(_ sequence: Int64) {
    let range = sequences ?? sequence...sequence
    sequences = min(range.lowerBound, sequence)...max(range.upperBound, sequence)
  }
}
