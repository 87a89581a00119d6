import Compression
import Pipeline
import Telemetry
import Testing

@testable import forebay

/// One recipe of docs/pipelines.md: a configuration, messages, and the lines that come out.
struct Recipe: Sendable, CustomTestStringConvertible {
  struct Sent: Sendable {
    var topic: String
    var payload: [UInt8]
    /// Nanoseconds after the time at which the page says that all are received.
    var after: Int64 = 0
  }

  /// The heading above it.
  var title: String
  var yaml: String
  /// Of a table, where there is one.
  var table: String
  var messages: [Sent] = []
  var expected: [String] = []

  var testDescription: String { title }

  /// 2024-06-01T12:00:00Z.
  static let received: Int64 = 1_717_243_200_000_000_000

  /// Everything that the page says, in its order.
  static func all(in page: String) -> [Recipe] {
    var recipes: [Recipe] = []
    var title = ""
    var table = ""
    var fence: String?
    var block: [String] = []
    for line in page.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
      if let kind = fence {
        guard line == "```" else {
          block.append(line)
          continue
        }
        fence = nil
        switch kind {
        case "yaml":
          recipes.append(Recipe(title: title, yaml: block.joined(separator: "\n") + "\n", table: table))
        case "csv": table = block.joined(separator: "\n") + "\n"
        case "text": recipes[recipes.count - 1].messages.append(sent(block))
        case "json": recipes[recipes.count - 1].expected = block
        default: break
        }
        block = []
      } else if line.hasPrefix("```") {
        fence = String(line.dropFirst(3))
      } else if line.hasPrefix("## ") {
        title = String(line.dropFirst(3))
      }
    }
    return recipes
  }

  /// The first line is the topic; in parentheses how the payload is written, or when it was received.
  private static func sent(_ block: [String]) -> Sent {
    let head = block[0].split(separator: " (", maxSplits: 1).map(String.init)
    let text = block.dropFirst().joined(separator: "\n")
    let note = head.count > 1 ? head[1].dropLast() : ""
    switch note {
    case "": return Sent(topic: head[0], payload: Array(text.utf8))
    case "hexadecimal": return Sent(topic: head[0], payload: Hex.decode(text.filter { $0 != " " }) ?? [])
    case "iso-8859-1":
      return Sent(topic: head[0], payload: text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) })
    default:
      let time = (try? Array(note.utf8).withUnsafeBytes { try RFC3339.nanoseconds($0) }) ?? 0
      return Sent(topic: head[0], payload: Array(text.utf8), after: time - received)
    }
  }

  /// The pipeline, by way of a whole configuration.
  func pipeline() throws -> PipelineSettings {
    let rest = """
      gateway: { id: gw-042 }
      sources: { floor: { mqtt: { url: "mqtt://127.0.0.1" } } }
      uplinks: { central: { http: { url: "https://ingest.example" } } }

      """
    let files = Sample.machine(["/etc/devices.csv": table, "/etc/doors.key": Hex.encode(0..<32)])
    do {
      let configuration = try Sample.decode(rest + yaml, files: files)
      #expect(configuration.warnings == [])
      return try #require(configuration.pipelines.first)
    } catch let error as ConfigurationErrors {
      Issue.record("\(title): \(error.report)")
      throw error
    }
  }

  /// The lines that the messages become.
  func lines() throws -> [String] {
    let pipeline = try pipeline()
    let boot = BootID(high: 1, low: 2)
    let log = LogID(rawValue: "aaaaaaaaaaaaaaaa")
    var core = try PipelineCore(
      settings: pipeline, version: pipelineVersion(pipeline),
      state: PipelineState(
        gateway: "gw-042", epoch: Epoch(random: 42), nextSequence: 1, previousDigest: .zero, log: log,
        checkpoint: Offset(0)))
    func moment(_ after: Int64) -> Moment {
      Moment(boot: boot, monotonic: after, wall: Recipe.received + after, quality: .synchronised)
    }
    var group = MessageGroup(boot: boot)
    for sent in messages {
      group.append(
        Message(
          origin: Origin(source: "floor", topic: sent.topic), payload: sent.payload, qos: .atLeastOnce, packetID: 1,
          received: moment(sent.after)))
    }
    let now = moment(messages.map(\.after).max() ?? 0)
    core.process(LogBlock(log: log, first: Offset(0), group: group), now: now)
    core.close(now)
    let seal = try #require(try core.nextSeal())
    #expect(seal.rejections.map(\.reason) == [])
    return try seal.batches.flatMap { batch in
      let body = try Gzip.decompress(batch.body, maximumOutput: batch.length)
      return String(decoding: body, as: UTF8.self).split(separator: "\n").map(String.init)
    }
  }
}

@Suite("The cookbook of pipelines")
struct CookbookTests {
  private static let page: String = {
    let root = #filePath.split(separator: "/").dropLast(4).map { "/\($0)" }.joined()
    let contents = try? ConfigurationFiles.system.read("\(root)/docs/pipelines.md", 1 << 20).get()
    return String(decoding: contents?.bytes ?? [], as: UTF8.self)
  }()

  @Test("it has recipes for ten families and more, each with messages and lines")
  func complete() {
    let recipes = Recipe.all(in: Self.page)
    #expect(Set(recipes.map(\.title)).count >= 11)
    for recipe in recipes { #expect(!recipe.messages.isEmpty && !recipe.expected.isEmpty, "\(recipe.title)") }
    // The table at the top leads to each of them.
    for recipe in recipes { #expect(Self.page.contains("| [\(recipe.title)](#"), "\(recipe.title)") }
  }

  @Test("what goes in as it stands on the page comes out as it stands there", arguments: Recipe.all(in: Self.page))
  func recipe(_ recipe: Recipe) throws {
    let lines = try recipe.lines()
    #expect(lines == recipe.expected, "\(recipe.title) gives\n\(lines.joined(separator: "\n"))")
  }
}
