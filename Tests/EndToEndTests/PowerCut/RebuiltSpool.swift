import CSQLite
import Foundation
import TestSupport

/// A spool as a power cut may have left it, and the daemon that is started on it: without broker and
/// without upstream, so that it has only what the disk holds.
struct RebuiltSpool {
  let directory: TemporaryDirectory
  private let environment: [String: String]

  var spool: String { directory.file("spool") }

  init(
    _ image: [String: [UInt8]], of recording: PowerCutRecording, identity: String?, closedPort: Int
  ) throws {
    directory = try TemporaryDirectory("cut")
    try Disk.write(image, to: directory.file("spool"))
    let house = recording.house
    var text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    for (old, new) in [
      ("127.0.0.1:\(house.broker.port)", "127.0.0.1:\(closedPort)"),
      ("127.0.0.1:\(house.upstreamPort)", "127.0.0.1:\(closedPort)"), ("grace: 20 s", "grace: 1 s"),
    ] {
      text = text.replacingOccurrences(of: old, with: new)
    }
    try directory.write(text, to: "forebay.yaml")
    var environment: [String: String] = [:]
    if let identity {
      environment = ["LD_PRELOAD": recording.recorder.library, "POWERCUT_IDENTITY": "state.db=\(identity)"]
    }
    self.environment = environment
  }

  /// Starts the daemon, ends it in order and looks at what it holds.
  /// - Parameters:
  ///   - acknowledged: messages that must be there.
  ///   - sent: batches that the upstream may have.
  /// - Returns: what is wrong, in words; empty when nothing is.
  func faults(acknowledged: Set<String>, sent: [Posts.Post]) throws -> [String] {
    let log = directory.file("daemon.log")
    let daemon = try ChildProcess(
      House.forebay, ["run", "--config", directory.file("forebay.yaml"), "--state", directory.path],
      environment: environment, output: log)
    let runs = eventually(within: 30) {
      daemon.poll() != nil || TemporaryDirectory.read(log).contains("message=running")
    }
    guard runs, daemon.poll() == nil else {
      return ["the daemon does not start: \(TemporaryDirectory.read(log).suffix(1_000))"]
    }
    daemon.signal(SIGTERM)
    var faults: [String] = []
    let status = daemon.wait(seconds: 30)
    if status != 0 {
      faults.append("the daemon ends with \(status.map(String.init) ?? "nothing"): \(TemporaryDirectory.read(log))")
    }
    faults += try missing(acknowledged)
    faults += try audit()
    faults += try forgotten(sent)
    return faults
  }

  private func missing(_ acknowledged: Set<String>) throws -> [String] {
    struct Line: Decodable {
      var topic: String
      var payload: String
    }
    let export = try ChildProcess.run(House.forebay, ["log", "export", "--spool", spool])
    guard export.status == 0 else { return ["the log cannot be exported: \(export.output.prefix(1_000))"] }
    let decoder = JSONDecoder()
    var held: Set<String> = []
    for text in export.output.utf8.split(separator: UInt8(ascii: "\n")) {
      if text.starts(with: "no message".utf8) { continue }
      guard let line = try? decoder.decode(Line.self, from: Data(text)) else {
        return ["the log gives no message but: \(String(decoding: text, as: UTF8.self))"]
      }
      held.insert(Acknowledgements.key(line.topic, line.payload))
    }
    let lost = acknowledged.subtracting(held)
    guard let example = lost.min() else { return [] }
    return ["\(lost.count) of \(acknowledged.count) acknowledged messages are lost, such as \(example.prefix(100))"]
  }

  /// The books balance, and nothing had to be booked: no damage, no quarantine, no checkpoint beyond the log.
  private func audit() throws -> [String] {
    struct Report: Decodable {
      struct Fault: Decodable {
        var kind: String
        var detail: String
      }
      var faults: [Fault]
    }
    let audit = try ChildProcess.run(House.forebay, ["audit", "--json", "--spool", spool])
    var faults: [String] = []
    if audit.status != 0 { faults.append("the audit exits with \(audit.status): \(audit.output)") }
    if let report = try? JSONDecoder().decode(Report.self, from: Data(audit.output.utf8)) {
      faults += report.faults.map { "\($0.kind): \($0.detail)" }
    }
    return faults
  }

  /// A batch that left must have been sealed for good: its sequence is never given to another one, and
  /// while it is in the outbox it is what it was.
  private func forgotten(_ sent: [Posts.Post]) throws -> [String] {
    guard !sent.isEmpty else { return [] }
    var handle: OpaquePointer?
    defer { sqlite3_close(handle) }
    guard sqlite3_open(spool + "/state.db", &handle) == SQLITE_OK else { return ["state.db cannot be opened"] }
    let pipelines = rows("SELECT epoch, sequence FROM pipeline", in: handle)
    let outbox = Dictionary(
      rows("SELECT identity, lower(hex(digest)) FROM outbox", in: handle).map { ($0[0], $0[1]) },
      uniquingKeysWith: { first, _ in first })
    var faults: Set<String> = []
    for post in sent {
      if !pipelines.contains(where: { $0[0] == post.epoch && Int($0[1]) ?? 0 > post.sequence }) {
        faults.insert("batch \(post.identity) was sent and is forgotten; the state knows \(pipelines)")
      }
      if let digest = outbox[post.identity], digest != post.digest {
        faults.insert("batch \(post.identity) was sent and is another one now")
      }
    }
    return faults.sorted()
  }

  private func rows(_ sql: String, in handle: OpaquePointer?) -> [[String]] {
    var statement: OpaquePointer?
    defer { sqlite3_finalize(statement) }
    guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK else { return [] }
    var rows: [[String]] = []
    while sqlite3_step(statement) == SQLITE_ROW {
      rows.append(
        (0..<sqlite3_column_count(statement)).map { column in
          sqlite3_column_text(statement, column).map { String(cString: $0) } ?? ""
        })
    }
    return rows
  }
}
