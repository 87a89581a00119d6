internal import Telemetry

/// Keeps a rebuilding from filling the disk: what it may still take is looked up before every portion.
struct RebuildRoom {
  /// The spool's folder.
  let directory: String
  /// Bytes of rows that are copied in one transaction: the write-ahead log holds them a second time.
  static let portion = 1 << 20
  /// Bytes that stay free: for a portion in both files, for the counters and for the daemon's first steps.
  static let reserve: Int64 = 8 << 20

  /// Whether another portion fits. The ballast is given up for it first.
  func fits() -> Bool {
    func isEnough() -> Bool {
      guard let free = try? FileSystem.free(directory) else { return true }
      return free >= RebuildRoom.reserve
    }
    if isEnough() { return true }
    Ballast(directory: directory).release()
    return isEnough()
  }
}

extension Connection {
  /// Copies rows in portions, each a transaction that is checkpointed before the next.
  /// - Parameters:
  ///   - next: writes the next row and says how many bytes it had; nil at the end.
  /// - Returns: false when the disk had no more room.
  func fill(
    _ room: RebuildRoom, _ next: () throws(SpoolError) -> Int?
  ) throws(SpoolError) -> Bool {
    var isDone = false
    while !isDone {
      guard room.fits() else { return false }
      do throws(SpoolError) {
        try transaction(.immediate) { () throws(SpoolError) in
          var bytes = 0
          while bytes < RebuildRoom.portion {
            guard let size = try next() else {
              isDone = true
              return
            }
            bytes += size
          }
        }
        try truncateLog()
      } catch  where error.kind == .full {
        return false
      }
    }
    return true
  }
}

/// Goes through the rows of a table of a damaged database in the order of their ids. A page that cannot
/// be read costs the rows on it: the next readable one is searched by leaps, and then by halving the last
/// of them.
struct ReadableRows {
  private let source: Connection
  private let sql: String
  private var position: Int64
  private let end: Int64
  /// Whether anything was in the way.
  private(set) var isWhole = true

  /// - Parameter select: what to read, up to a WHERE clause over `id`.
  init(_ select: String, id: String, from first: Int64 = 0, upTo end: Int64 = .max, in source: Connection) {
    self.source = source
    sql = "\(select) WHERE \(id) > ? ORDER BY \(id) LIMIT 1"
    position = first - 1
    self.end = end
  }

  /// The next row, through `read`, which says its id as well; nil at the end.
  mutating func next<Row>(_ read: (Statement) -> (id: Int64, row: Row)) -> Row? {
    while true {
      do throws(SpoolError) {
        guard let found = try row(after: position, read), found.id < end else { return nil }
        position = max(found.id, position + 1)
        return found.row
      } catch {
        isWhole = false
        guard let readable = endOfUnreadable(read) else { return nil }
        position = readable
      }
    }
  }

  private func row<Row>(
    after position: Int64, _ read: (Statement) -> (id: Int64, row: Row)
  ) throws(SpoolError) -> (id: Int64, row: Row)? {
    let statement = try source.statement(sql)
    defer { statement.reset() }
    try statement.bind([.integer(position)])
    return try statement.step() ? read(statement) : nil
  }

  /// The lowest position behind which something can be read again.
  private func endOfUnreadable<Row>(_ read: (Statement) -> (id: Int64, row: Row)) -> Int64? {
    func isReadable(_ position: Int64) -> Bool { (try? row(after: position, read)) != nil }
    var low = position
    var stride: Int64 = 1
    while true {
      let (high, overflow) = position.addingReportingOverflow(stride)
      guard !overflow, stride < 1 << 40 else { return nil }
      if isReadable(high) {
        var readable = high
        while readable - low > 1 {
          let middle = low + (readable - low) / 2
          if isReadable(middle) { readable = middle } else { low = middle }
        }
        return readable
      }
      low = high
      stride *= 2
    }
  }
}
