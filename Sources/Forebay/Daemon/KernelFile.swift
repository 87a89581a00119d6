internal import Glibc

/// A small file of the kernel's about this process (proc(5)). A scrape reads several of them, once a second for as long
/// as the gateway lives: so nothing is made of their bytes but the numbers.
enum KernelFile {
  /// Bytes that are read at most; those that are asked for have some hundred.
  private static let maximum = 1024

  /// - Returns: what `body` makes of the content; nil where it cannot be read.
  static func read<Result>(_ path: StaticString, _ body: (UnsafeBufferPointer<UInt8>) -> Result?) -> Result? {
    path.withUTF8Buffer { name in
      name.withMemoryRebound(to: CChar.self) { name in
        guard let name = name.baseAddress else { return nil }
        let file = open(name, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: maximum) { room in
          let count = Glibc.read(file, room.baseAddress, room.count)
          return count < 0 ? nil : body(UnsafeBufferPointer(rebasing: room[..<count]))
        }
      }
    }
  }

  /// The number of so many decimal digits as there are from `start` on, behind spaces; nil without any, or where it
  /// has more than an Int64 can hold.
  static func number(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int64? {
    var index = start
    while index < bytes.count, bytes[index] == UInt8(ascii: " ") { index += 1 }
    let first = index
    var number: Int64 = 0
    while index < bytes.count, case let digit = bytes[index] &- UInt8(ascii: "0"), digit < 10 {
      let (tens, isTooLarge) = number.multipliedReportingOverflow(by: 10)
      let (sum, overflow) = tens.addingReportingOverflow(Int64(digit))
      if isTooLarge || overflow { return nil }
      number = sum
      index += 1
    }
    return index > first ? number : nil
  }

  /// The number behind `name` where that begins a line; nil where no line does.
  static func number(_ bytes: UnsafeBufferPointer<UInt8>, behind name: StaticString) -> Int64? {
    guard let base = bytes.baseAddress else { return nil }
    let length = name.utf8CodeUnitCount
    var start = 0
    while start + length <= bytes.count {
      if memcmp(base + start, name.utf8Start, length) == 0 { return number(bytes, from: start + length) }
      guard let end = memchr(base + start, Int32(UInt8(ascii: "\n")), bytes.count - start) else { return nil }
      start = UnsafeRawPointer(end) - UnsafeRawPointer(base) + 1
    }
    return nil
  }
}

/// What the kernel says of this process.
enum ProcessMemory {
  private static let pageSize = Int64(sysconf(Int32(_SC_PAGESIZE)))

  /// Resident bytes (proc(5), statm).
  static func resident() -> Int64 {
    let pages = KernelFile.read("/proc/self/statm") { bytes in
      bytes.firstIndex(of: UInt8(ascii: " ")).flatMap { KernelFile.number(bytes, from: $0) }
    }
    return (pages ?? 0) * pageSize
  }
}

enum ProcessDisk {
  /// Bytes that this process caused to be written to disk, less those that were deleted before they got there
  /// (proc(5), io); nil when the kernel keeps no such account.
  static func written() -> Int64? {
    KernelFile.read("/proc/self/io") { bytes in
      KernelFile.number(bytes, behind: "write_bytes:").map { written in
        written - (KernelFile.number(bytes, behind: "cancelled_write_bytes:") ?? 0)
      }
    }
  }
}
