internal import CLinux
internal import Glibc

/// The pages of this program's own code and constants that are mapped into memory.
///
/// The kernel maps far more of them than are used: sixteen around each one that is touched, and all that only the start
/// needed. They are clean, so that it could take them back, but it does not look before memory is short, and until
/// then they count as this process's.
enum ResidentCode {
  /// Nanoseconds after the start when letting go of them is worth it, and between two times from then on. Some hundred
  /// page faults without a disk are what it costs: a millisecond a minute.
  static let firstRelease: Int64 = 5_000_000_000
  static let interval: Int64 = 60_000_000_000

  /// Unmaps them (madvise(2), MADV_DONTNEED): what is needed is mapped again, from the page cache, when it is touched.
  /// Only segments that cannot be written to (getauxval(3), AT_PHDR), and so are what the file has.
  /// - Returns: the bytes of code and constants, mapped or not.
  @discardableResult
  static func release() -> UInt {
    let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
    guard let first = UnsafePointer<Elf64_Phdr>(bitPattern: forebay_auxiliary(UInt(AT_PHDR))) else { return 0 }
    let headers = UnsafeBufferPointer(start: first, count: Int(forebay_auxiliary(UInt(AT_PHNUM))))
    guard let own = headers.first(where: { $0.p_type == UInt32(PT_PHDR) }) else { return 0 }
    let base = UInt(bitPattern: first) &- UInt(own.p_vaddr)
    var released: UInt = 0
    for header in headers where header.p_type == UInt32(PT_LOAD) && header.p_flags & UInt32(PF_W) == 0 {
      let start = base &+ UInt(header.p_vaddr)
      // The pages at both ends may be shared with a segment that is written to: they stay.
      let (begin, end) = ((start + page - 1) / page * page, (start + UInt(header.p_filesz)) / page * page)
      guard end > begin, let address = UnsafeMutableRawPointer(bitPattern: begin),
        madvise(address, Int(end - begin), Int32(MADV_DONTNEED)) == 0
      else { continue }
      released += end - begin
    }
    return released
  }
}
