import Foundation
import TestSupport
import Testing

/// A daemon that runs under the recorder in a house of its own, and what came of it.
final class PowerCutRecording {
  let house: House
  let recorder: PreloadedRecorder
  let sabotage: PreloadedRecorder.Sabotage
  /// Where a killed daemon left its folder, and the event that was the next then.
  private var kills: [(event: Int, folder: String)] = []

  init(_ label: String, sabotage: PreloadedRecorder.Sabotage = .none) throws {
    house = try House(label)
    recorder = try PreloadedRecorder()
    self.sabotage = sabotage
  }

  func startDaemon() throws {
    try house.startDaemon(environment: recorder.environment(for: house, sabotage: sabotage))
  }

  /// Publishes payloads that no compression shrinks, so that the write-ahead logs grow past a checkpoint.
  func publishNoise(_ count: Int, device: String, random: inout SplitMix) throws -> ChildProcess {
    let digits = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/".utf8)
    var text: [UInt8] = []
    for number in 1...count {
      text += Array("{\"device\":\"\(device)\",\"seq\":\(number),\"ts\":1700000000000,\"noise\":\"".utf8)
      var bits: UInt64 = 0
      for index in 0..<3_000 {
        if index % 10 == 0 { bits = random.next() }
        text.append(digits[Int(bits & 63)])
        bits >>= 6
      }
      text += Array("\"}\n".utf8)
    }
    let file = house.directory.file("noise-\(device)")
    try Data(text).write(to: URL(fileURLWithPath: file))
    return try ChildProcess(
      "mosquitto_pub",
      ["-h", "127.0.0.1", "-p", "\(house.broker.port)", "-t", "sensors/\(device)/noise", "-q", "1", "-l"],
      input: file)
  }

  /// Kills the daemon when it is about to sync a file for the so-many-th time from now, and keeps what it
  /// leaves behind.
  func kill(atSyncOf file: String, number: Int, while body: () throws -> Void = {}) throws {
    try recorder.set(.killAtSync(of: file, number: number))
    try body()
    guard let status = house.daemon?.wait(seconds: 30), status == 128 + SIGKILL else {
      throw House.Trouble(description: "the daemon has not synced \(file) \(number) times within 30 s")
    }
    try recorder.set(nil)
    try keep()
  }

  private func keep() throws {
    let folder = house.directory.file("left-\(kills.count)")
    try Disk.write(try Disk.read(house.spool), to: folder)
    kills.append((try Record(contentsOf: recorder.recordPath).events.count, folder))
  }

  /// Ends the daemon in order, and takes the record.
  func finish() throws -> Record {
    let status = house.stopDaemon()
    guard status == 0 else { throw House.Trouble(description: "the daemon ended with \(status ?? -1)") }
    try keep()
    return try Record(contentsOf: recorder.recordPath)
  }

  /// Goes through the record, and compares with the real folder wherever a daemon has ended.
  func replay(_ record: Record, stops: [Int], _ body: (inout Disk, Int) throws -> Void) throws {
    var disk = Disk(record)
    var kills = kills[...]
    for stop in stops.sorted() {
      while let kill = kills.first, kill.event <= stop {
        try disk.advance(to: kill.event)
        try disk.settle(with: kill.folder)
        kills.removeFirst()
      }
      try disk.advance(to: stop)
      try body(&disk, stop)
    }
    for kill in kills {
      try disk.advance(to: kill.event)
      try disk.settle(with: kill.folder)
    }
  }

  /// Events after which to cut, in order: at random, but so that the first start, checkpoints and the
  /// moments right after an acknowledgement are among them.
  static func cuts(
    _ count: Int, in record: Record, _ acknowledgements: Acknowledgements, random: inout SplitMix
  ) -> [Int] {
    let acknowledged = acknowledgements.messages.compactMap { $0.acknowledged.map { $0 + 1 } }
    var databases: [Int32: Bool] = [:]
    var checkpoints: [Int] = []
    for (index, event) in record.events.enumerated() {
      switch event.kind {
      case .open where event.isEnd && event.result >= 0:
        databases[event.file] = record.path(of: event).hasSuffix(".db")
      case .write where databases[event.file] == true: checkpoints.append(index + 1)
      default: break
      }
    }
    let start = Array(0...(acknowledged.min() ?? record.events.count))
    let all = Array(0...record.events.count)
    let plan = [start, checkpoints, checkpoints, acknowledged, acknowledged, acknowledged, all, all]
    return (0..<count).map { number in
      let places = plan[number % plan.count].isEmpty ? all : plan[number % plan.count]
      return places[Int(random.next() % UInt64(places.count))]
    }.sorted()
  }
}
