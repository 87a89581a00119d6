import Foundation

/// The QoS 1 messages that the daemon received and acknowledged, read from the packets in a record
/// (MQTT 5.0 and 3.1.1, sections 2.1, 3.3 and 3.4).
struct Acknowledgements {
  struct Message: Sendable {
    /// Topic and payload: what tells this message from every other of the test.
    var key: String
    var packet: UInt16
    /// The broker says that it sends it again.
    var isRepeat: Bool
    /// The event that brought its last byte.
    var received: Int
    /// The event that was about to send its PUBACK; from then on the broker may have it.
    var acknowledged: Int?
    /// The thread that sent it.
    var thread: Int32 = 0
  }

  private struct Stream {
    var bytes: [UInt8] = []
    var read = 0

    mutating func append(_ more: ArraySlice<UInt8>) {
      if read > 0, read == bytes.count { (bytes, read) = ([], 0) }
      bytes.append(contentsOf: more)
    }

    /// The next whole packet: its first byte and its body.
    mutating func next() -> (head: UInt8, body: Range<Int>)? {
      var length = 0
      var shift = 0
      var at = read + 1
      while true {
        guard at < bytes.count else { return nil }
        length |= Int(bytes[at] & 0x7F) << shift
        shift += 7
        at += 1
        if bytes[at - 1] & 0x80 == 0 { break }
      }
      guard at + length <= bytes.count else { return nil }
      defer { read = at + length }
      return (bytes[read], at..<at + length)
    }
  }

  private struct Connection {
    var input = Stream()
    var output = Stream()
    var isVersion5 = false
    /// Received and not acknowledged: packet identifier and index in ``messages``.
    var open: [UInt16: Int] = [:]
  }

  private(set) var messages: [Message] = []

  /// - Parameter port: the broker's.
  init(_ record: Record, port: Int) {
    var connections: [Int32: Connection] = [:]
    var sends: [UInt64: Int] = [:]
    for (index, event) in record.events.enumerated() {
      switch event.kind {
      case .start:
        flush(&sends, record, &connections)
        connections = [:]
      case .connect: connections[event.file] = event.a == port ? Connection() : nil
      case .close: connections[event.file] = nil
      case .receive:
        guard var connection = connections[event.file] else { continue }
        connection.input.append(record.bytes[event.data])
        take(&connection, at: index)
        connections[event.file] = connection
      case .send where !event.isEnd: sends[event.call] = index
      case .send:
        guard let begin = sends.removeValue(forKey: event.call), event.result > 0 else { continue }
        send(record.bytes[record.events[begin].data.prefix(Int(event.result))], at: begin, record, &connections)
      default: break
      }
    }
    flush(&sends, record, &connections)
  }

  /// A process was killed in the middle of a send: all of it may have gone out.
  private mutating func flush(
    _ sends: inout [UInt64: Int], _ record: Record, _ connections: inout [Int32: Connection]
  ) {
    for begin in sends.values.sorted() {
      send(record.bytes[record.events[begin].data], at: begin, record, &connections)
    }
    sends = [:]
  }

  private mutating func send(
    _ bytes: ArraySlice<UInt8>, at begin: Int, _ record: Record, _ connections: inout [Int32: Connection]
  ) {
    let event = record.events[begin]
    guard var connection = connections[event.file] else { return }
    connection.output.append(bytes)
    while let (head, body) = connection.output.next() {
      let bytes = connection.output.bytes
      switch head >> 4 {
      case 1: connection.isVersion5 = bytes[body.lowerBound + 6] == 5
      case 4:
        let packet = UInt16(bytes[body.lowerBound]) << 8 | UInt16(bytes[body.lowerBound + 1])
        if let message = connection.open.removeValue(forKey: packet) {
          messages[message].acknowledged = begin
          messages[message].thread = event.thread
        }
      default: break
      }
    }
    connections[event.file] = connection
  }

  private mutating func take(_ connection: inout Connection, at index: Int) {
    while let (head, body) = connection.input.next() {
      guard head >> 4 == 3, head >> 1 & 3 == 1 else { continue }
      let bytes = connection.input.bytes
      let topicEnd = body.lowerBound + 2 + (Int(bytes[body.lowerBound]) << 8 | Int(bytes[body.lowerBound + 1]))
      let packet = UInt16(bytes[topicEnd]) << 8 | UInt16(bytes[topicEnd + 1])
      var payload = topicEnd + 2
      if connection.isVersion5 {
        var length = 0
        var shift = 0
        repeat {
          length |= Int(bytes[payload] & 0x7F) << shift
          shift += 7
          payload += 1
        } while bytes[payload - 1] & 0x80 != 0
        payload += length
      }
      let topic = String(decoding: bytes[body.lowerBound + 2..<topicEnd], as: UTF8.self)
      connection.open[packet] = messages.count
      messages.append(
        Message(
          key: Acknowledgements.key(topic, String(decoding: bytes[payload..<body.upperBound], as: UTF8.self)),
          packet: packet, isRepeat: head & 8 != 0, received: index))
    }
  }

  static func key(_ topic: String, _ payload: String) -> String { topic + "\u{0}" + payload }

  /// The messages whose PUBACK may have left before the event at `cut`.
  func acknowledged(before cut: Int) -> Set<String> {
    Set(messages.lazy.filter { ($0.acknowledged ?? .max) < cut }.map(\.key))
  }
}

extension Acknowledgements {
  /// Checks the order of the calls themselves: between the arrival of a message and its PUBACK the
  /// write-ahead log was written and then synced, and when the PUBACK left, the thread that sent it had
  /// written nothing to the log that was not synced.
  /// - Returns: what breaks the rule, in words.
  func violations(in record: Record) -> [String] {
    // Of every event: the last write to the write-ahead log that a finished sync covers, by its begin.
    var handles: Set<Int32> = []
    var names: [UInt64: Bool] = [:]
    var written = -1
    var covering: [UInt64: Int] = [:]
    var durable = -1
    var lastWrite: [Int32: Int] = [:]
    var durableAt: [Int: (durable: Int, last: [Int32: Int])] = [:]
    var begins: [UInt64: Int] = [:]
    let wanted = Set(messages.compactMap(\.acknowledged))
    for (index, event) in record.events.enumerated() {
      if wanted.contains(index) { durableAt[index] = (durable, lastWrite) }
      switch event.kind {
      case .start: handles = []
      case .open where !event.isEnd: names[event.call] = record.path(of: event) == "log.db-wal"
      case .open:
        if names[event.call] == true, event.result >= 0 { handles.insert(event.file) }
      case .close: handles.remove(event.file)
      case .write where handles.contains(event.file):
        if !event.isEnd {
          begins[event.call] = index
        } else if event.result >= 0, let begin = begins.removeValue(forKey: event.call) {
          written = begin
          lastWrite[event.thread] = begin
        }
      case .sync where handles.contains(event.file):
        if !event.isEnd {
          covering[event.call] = written
        } else if event.result == 0, let covered = covering.removeValue(forKey: event.call) {
          durable = max(durable, covered)
        }
      default: break
      }
    }
    var first: [String: Int] = [:]
    var broken: [String] = []
    for message in messages {
      // A message that is sent again may have been committed when it came before.
      let received = message.isRepeat ? first[message.key] ?? message.received : message.received
      first[message.key] = min(first[message.key] ?? .max, message.received)
      guard let acknowledged = message.acknowledged, let state = durableAt[acknowledged] else { continue }
      let subject = "the PUBACK \(message.packet) at event \(acknowledged)"
      if state.durable < received {
        broken.append("\(subject): nothing of the log was written and synced since event \(received)")
      } else if let own = state.last[message.thread], own > state.durable {
        broken.append("\(subject): the write to the log at event \(own) is not synced")
      }
    }
    return broken
  }
}
