import Foundation
import TestSupport

/// Tests/PowerCut/recorder.c, compiled and set up for one spool.
final class PreloadedRecorder {
  /// What is done to the daemon's care for the disk, to see that the harness notices.
  enum Sabotage: String, CaseIterable, Sendable {
    case none
    /// `PRAGMA synchronous = FULL` sets OFF: SQLite never syncs.
    case synchronousOff = "synchronous=OFF"
    /// ... sets NORMAL: SQLite syncs only at checkpoints.
    case synchronousNormal = "synchronous=NORMAL"
    /// fsync and fdatasync succeed and do nothing.
    case swallowedSyncs = "swallowed syncs"
  }

  struct Fault {
    var errno: Int32 = 0
    /// Any of w(rite), s(ync), t(runcate), o(pen).
    var calls = "-"
    /// How the file's name ends; `*`: every file.
    var file = "*"
    var every = 1
    /// What the file system reports as free; nil: the truth.
    var free: Int?

    /// Kills the daemon when it is about to sync a file for the so-many-th time from now.
    static func killAtSync(of file: String, number: Int) -> Fault {
      Fault(errno: -SIGKILL, calls: "s", file: file, every: number)
    }
  }

  let library: String
  let recordPath: String
  private let directory: TemporaryDirectory
  private let faults: String

  init() throws {
    directory = try TemporaryDirectory("recorder")
    library = directory.file("recorder.so")
    recordPath = directory.file("record")
    faults = directory.file("faults")
    // The clang that comes with the Swift toolchain.
    let compiled = try ChildProcess.run(
      "clang",
      ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", library]
        + [House.root + "/Tests/PowerCut/recorder.c"])
    guard compiled.status == 0 else {
      throw House.Trouble(description: "the recorder does not compile: \(compiled.output)")
    }
    try Data(count: 4096).write(to: URL(fileURLWithPath: faults))
  }

  /// What the daemon's environment needs.
  /// - Parameter recording: false: only faults are made.
  func environment(
    for house: House, recording: Bool = true, sabotage: Sabotage = .none
  ) -> [String: String] {
    var environment = [
      "LD_PRELOAD": library, "POWERCUT_FOLDER": house.spool, "POWERCUT_FAULTS": faults,
      "POWERCUT_PORTS": "\(house.broker.port),\(house.upstreamPort)",
    ]
    if recording { environment["POWERCUT_LOG"] = recordPath }
    switch sabotage {
    case .none: break
    case .synchronousOff: environment["POWERCUT_SYNCHRONOUS"] = "OFF"
    case .synchronousNormal: environment["POWERCUT_SYNCHRONOUS"] = "NORMAL"
    case .swallowedSyncs: environment["POWERCUT_SWALLOW_SYNC"] = "1"
    }
    return environment
  }

  /// Makes calls fail from now on; nil: no more.
  func set(_ fault: Fault?) throws {
    let line =
      fault.map {
        "error=\($0.errno) calls=\($0.calls) file=\($0.file) every=\($0.every) free=\($0.free ?? -1)\n"
      } ?? ""
    var bytes = [UInt8](line.utf8)
    bytes.append(contentsOf: repeatElement(0, count: 256 - bytes.count))
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: faults))
    defer { try? file.close() }
    try file.write(contentsOf: Data(bytes))
  }

  /// How many calls were made to fail.
  func faultsMade() throws -> Int {
    let page = try Data(contentsOf: URL(fileURLWithPath: faults))
    return Int(page.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 2048, as: UInt64.self) })
  }
}
