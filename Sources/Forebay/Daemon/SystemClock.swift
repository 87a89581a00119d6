internal import CLinux
internal import Glibc
internal import Spool
internal import Telemetry

/// The real clocks and names of the machine: the one place where time and identity are read.
enum SystemClock {
  /// Both clocks now, with what the kernel thinks of the wall clock.
  static let source: MomentSource = {
    let boot = bootID()
    return {
      // The discipline changes seldom and costs a system call; but a reading of it that is old would
      // vouch for a time that nobody stands behind, so it is taken each time.
      Moment(boot: boot, monotonic: monotonic(), wall: wall(), quality: quality())
    }
  }()

  /// `CLOCK_MONOTONIC` in nanoseconds.
  static func monotonic() -> Int64 { read(CLOCK_MONOTONIC) }

  /// `CLOCK_REALTIME` in nanoseconds since 1970.
  static func wall() -> Int64 { read(CLOCK_REALTIME) }

  private static func read(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  private static func quality() -> ClockQuality {
    var state = timex()
    return quality(answer: adjtimex(&state), status: state.status)
  }

  /// What adjtimex(2) says of the wall clock. A sandbox may forbid the question (-1): a clock that nobody vouches for
  /// is not synchronised.
  static func quality(answer: Int32, status: Int32) -> ClockQuality {
    answer < 0 || answer == TIME_ERROR || status & STA_UNSYNC != 0 ? .unsynchronised : .synchronised
  }

  private static func bootID() -> BootID {
    let text = (try? TextFile.read("/proc/sys/kernel/random/boot_id")) ?? ""
    let digits = Hex.decode(text.filter { $0.isHexDigit }) ?? []
    guard digits.count == 16 else {
      // Without a boot id monotonic times of two runs must not be compared: draw one for this run.
      return BootID(high: .random(in: 0 ... .max), low: .random(in: 0 ... .max))
    }
    func join(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
    return BootID(high: join(digits[0..<8]), low: join(digits[8..<16]))
  }
}

extension Machine {
  /// This machine's id: `/etc/machine-id` (machine-id(5)) and, where the board has one that may be
  /// read, its serial number, because a cloned card brings its machine-id along. The file that
  /// `FOREBAY_MACHINE_ID_FILE` names stands for both, for containers that share an image.
  static func current() -> Machine {
    func text(_ path: String) -> String {
      ((try? TextFile.read(path)) ?? "").filter { $0.isLetter || $0.isNumber || $0 == "-" }
    }
    let id: String
    if let path = getenv("FOREBAY_MACHINE_ID_FILE") {
      id = text(String(cString: path))
    } else {
      let serial = text("/proc/device-tree/serial-number")
      id = text("/etc/machine-id") + (serial.isEmpty ? "" : "/" + serial)
    }
    return Machine(id: id.isEmpty ? "unknown" : id)
  }
}

/// Small text files of the system.
enum TextFile {
  struct Unreadable: Error {}

  /// The content as UTF-8, at most 64 KiB of it.
  static func read(_ path: String) throws -> String {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw Unreadable() }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 65_536)
    let count = Glibc.read(file, &bytes, bytes.count)
    guard count >= 0 else { throw Unreadable() }
    return String(decoding: bytes[..<count], as: UTF8.self)
  }
}
