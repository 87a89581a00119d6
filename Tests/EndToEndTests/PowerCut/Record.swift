import Foundation

/// What the recorder (Tests/PowerCut) logged: calls on the spool's files and traffic with the broker, in
/// the order in which they happened. Tests/PowerCut/record.h tells the form.
struct Record: Sendable {
  enum Kind: UInt8, Sendable {
    case start = 1
    case open, close, dup, write, truncate, sync, rename, unlink, makeDirectory, allocate, map, connect, send, receive
  }

  struct Event: Sendable {
    var kind: Kind
    /// False: the call is about to be made.
    var isEnd: Bool
    /// The same at begin and end, and of no other call, also not of another process.
    var call: UInt64
    var process: UInt32
    var thread: Int32
    var file: Int32
    var error: Int32
    var a: Int64
    var b: Int64
    var result: Int64
    /// Both are ranges of ``Record/bytes``.
    var path: Range<Int>
    var data: Range<Int>
  }

  struct Malformed: Error, CustomStringConvertible {
    var description: String
  }

  let bytes: [UInt8]
  let events: [Event]

  init(contentsOf path: String) throws {
    try self.init([UInt8](Data(contentsOf: URL(fileURLWithPath: path))))
  }

  init(_ bytes: [UInt8]) throws {
    self.bytes = bytes
    var events: [Event] = []
    try bytes.withUnsafeBytes { raw in
      var at = 0
      while at + 64 <= raw.count {
        func field<T: FixedWidthInteger>(_ offset: Int, _: T.Type) -> T {
          T(littleEndian: raw.loadUnaligned(fromByteOffset: at + offset, as: T.self))
        }
        let length = Int(field(4, UInt32.self))
        guard field(0, UInt32.self) == 0x5455_4350, length >= 64, let kind = Kind(rawValue: field(16, UInt8.self))
        else { throw Malformed(description: "the record is broken at byte \(at)") }
        let path = at + 64..<at + 64 + Int(field(18, UInt16.self))
        let data = path.upperBound..<path.upperBound + Int(field(56, UInt32.self))
        guard data.upperBound == at + length, at + length <= raw.count else {
          throw Malformed(description: "the record ends within an event, at byte \(at)")
        }
        events.append(
          Event(
            kind: kind, isEnd: field(17, UInt8.self) == 1,
            call: UInt64(field(60, UInt32.self)) << 40 | field(8, UInt64.self), process: field(60, UInt32.self),
            thread: field(24, Int32.self), file: field(20, Int32.self),
            error: field(28, Int32.self), a: field(32, Int64.self), b: field(40, Int64.self),
            result: field(48, Int64.self), path: path, data: data))
        at += length
      }
      guard at == raw.count else { throw Malformed(description: "the record ends within an event, at byte \(at)") }
    }
    self.events = events
  }

  func path(of event: Event) -> String { String(decoding: bytes[event.path], as: UTF8.self) }
}
