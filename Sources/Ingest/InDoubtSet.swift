package import Telemetry

/// What a broker may send again first thing on a session that it resumes. Pure.
///
/// A message is a redelivery when its DUP flag is set and its packet identifier, topic and payload are
/// those of an entry; each entry serves once. DUP is essential: a broker that came back with an old
/// snapshot numbers *new* messages as it had numbered others before, and a stuck sensor sends the same
/// payload again and again.
package struct InDoubtSet: Sendable, Hashable {
  private var entries: [UInt16: InDoubtMessage]

  /// - Parameter messages: oldest first. A broker uses an identifier again only when the message that
  ///   had it was acknowledged (MQTT 5.0, section 2.2.1): of several, only the newest is in doubt.
  package init(_ messages: [InDoubtMessage] = []) {
    entries = Dictionary(messages.map { ($0.packetID, $0) }, uniquingKeysWith: { $1 })
  }

  package var isEmpty: Bool { entries.isEmpty }
  package var count: Int { entries.count }

  /// Uses the entry of a message up, if there is one.
  /// - Returns: whether there was one. The bytes are asked for only when the identifier fits.
  package mutating func take(
    packetID: UInt16, topic: () -> [UInt8], payload: () -> [UInt8]
  ) -> Bool {
    guard let known = entries[packetID] else { return false }
    guard InDoubtMessage(packetID: packetID, topic: topic(), payload: payload()) == known else { return false }
    entries[packetID] = nil
    return true
  }
}
