import Foundation

/// The batches that the daemon offered to the upstream, read from the HTTP requests in a record.
struct Posts {
  struct Post: Sendable, Hashable {
    /// `gateway/pipeline/epoch/sequence`.
    var identity: String
    var digest: String
    /// The event that was about to send it.
    var event: Int

    var epoch: String { parts.count > 2 ? parts[2] : "" }
    /// Of the batch, or of the one that it is a part of.
    var sequence: Int { parts.count > 3 ? Int(parts[3].prefix { $0 != "." }) ?? 0 : 0 }
    private var parts: [String] { identity.split(separator: "/").map(String.init) }
  }

  private(set) var all: [Post] = []

  /// - Parameter port: the upstream's.
  init(_ record: Record, port: Int) {
    var connections: Set<Int32> = []
    for (index, event) in record.events.enumerated() {
      switch event.kind {
      case .start: connections = []
      case .connect where event.a == port: connections.insert(event.file)
      case .connect, .close: connections.remove(event.file)
      case .send where !event.isEnd && connections.contains(event.file):
        // The client sends the head of a request in one piece.
        guard record.bytes[event.data].starts(with: "POST ".utf8) else { continue }
        let head = String(decoding: record.bytes[event.data].prefix(4_096), as: UTF8.self)
        guard let identity = Posts.header("Idempotency-Key", in: head),
          let digest = Posts.header("Forebay-Digest", in: head)
        else { continue }
        all.append(Post(identity: identity.trimmingCharacters(in: ["\""]), digest: digest, event: index))
      default: break
      }
    }
  }

  private static func header(_ name: String, in head: String) -> String? {
    for line in head.components(separatedBy: "\r\n") {
      guard !line.isEmpty else { return nil }
      let halves = line.split(separator: ":", maxSplits: 1)
      if halves.count == 2, halves[0].lowercased() == name.lowercased() {
        return halves[1].trimmingCharacters(in: .whitespaces)
      }
    }
    return nil
  }

  /// What the upstream may hold at a cut.
  func sent(before cut: Int) -> [Post] { all.filter { $0.event < cut } }
}
