import Glibc
import TestSupport
import Testing

@testable import forebay

@Suite("Fleet: names in the DNS") struct NameLookupTests {
  private static func name(_ text: String) -> [UInt8] {
    text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
  }

  private static func number(_ value: Int) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }

  /// An answer to a question of which the bytes are given, without its id.
  private static func answer(question: [UInt8], _ records: [(type: Int, data: [UInt8])]) -> [UInt8] {
    var out: [UInt8] = [0x81, 0x80] + number(1) + number(records.count) + number(0) + number(0) + question
    for record in records {
      // A pointer to the question's name.
      out += [0xC0, 12] + number(record.type) + number(1) + [0, 0, 0, 60] + number(record.data.count) + record.data
    }
    return out
  }

  private static func service(_ host: String, _ port: Int, priority: Int = 10) -> (type: Int, data: [UInt8]) {
    (33, number(priority) + number(5) + number(port) + name(host))
  }

  private static let question = name("_forebay._tcp.plant.example") + number(33) + number(1)

  @Test("services and addresses are read, compressed names too")
  func reads() throws {
    let message =
      [1, 2]
      + NameLookupTests.answer(
        question: NameLookupTests.question,
        [
          NameLookupTests.service("gw-1.plant.example", 8420),
          // "gw-2" and a pointer to "plant.example" within the question.
          (33, [0, 1, 0, 0] + NameLookupTests.number(443) + [4] + Array("gw-2".utf8) + [0xC0, 26]), (1, [10, 0, 0, 7]),
        ])
    let services = try DNSAnswer(message[...], for: .service).services
    #expect(
      services == [
        .init(priority: 10, port: 8420, host: "gw-1.plant.example"),
        .init(priority: 1, port: 443, host: "gw-2.plant.example"),
      ])
    #expect(try DNSAnswer(message[...], for: .address4).addresses == ["10.0.0.7"])
  }

  @Test("a message that is cut off anywhere, or whose names lead in circles, is refused")
  func damaged() {
    let message =
      [1, 2]
      + NameLookupTests.answer(
        question: NameLookupTests.question, [NameLookupTests.service("gw-1.plant.example", 8420)])
    for length in 0..<message.count {
      #expect(throws: DNSAnswer.Malformed.self, "\(length)") { try DNSAnswer(message[..<length], for: .service) }
    }
    let circle: [UInt8] = [1, 2, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0xC0, 12, 0, 33, 0, 1]
    #expect(throws: DNSAnswer.Malformed.self) { try DNSAnswer(circle[...], for: .service) }
  }

  @Test("whatever a name server answers is read or refused, in bounded time")
  func mutated() {
    let records: [(type: Int, data: [UInt8])] = [
      NameLookupTests.service("gw-1.plant.example", 8420), (1, [10, 0, 0, 7]), (28, Array(repeating: 1, count: 16)),
    ]
    let message = [1, 2] + NameLookupTests.answer(question: NameLookupTests.question, records)
    var random = SplitMix64(seed: 7)
    var read = 0
    for _ in 0..<20_000 {
      var bytes = message
      for _ in 0...(random.next() % 4) { bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(random.next() % 256) }
      for kind in [DNSAnswer.Kind.service, .address4, .address6] where (try? DNSAnswer(bytes[...], for: kind)) != nil {
        read += 1
      }
    }
    #expect(read > 1_000, "most bytes are not decisive")
  }

  @Test("a list in the DNS becomes a fleet, whose members are checked for their own names")
  func lookUp() throws {
    let server = try NameServer { question in
      switch question.first {
      case 8:  // "_forebay"
        NameLookupTests.answer(
          question: question,
          [NameLookupTests.service("gw-2.example", 1234), NameLookupTests.service("gw-1.example", 8420)])
      default:
        // The addresses of version 4 only.
        NameLookupTests.answer(
          question: question, question[question.count - 3] == 1 ? [(1, [127, 0, 0, 9])] : [])
      }
    }
    var sources = FleetSources()
    sources.nameServer = ListenAddress("127.0.0.1:\(server.port)")
    sources.names = ["_forebay._tcp.plant.example", "all.example"]
    let targets = try sources.load().fleet.targets
    #expect(targets.map(\.url) == ["https://gw-1.example:8420", "https://gw-2.example:1234", "https://127.0.0.9:8420"])
    #expect(targets.map(\.certificateName) == [nil, nil, "all.example"])
  }

  @Test("a name that the DNS does not know is told so")
  func unknown() throws {
    let server = try NameServer { question in
      [0x81, 0x83] + NameLookupTests.number(1) + [0, 0, 0, 0, 0, 0] + question
    }
    var sources = FleetSources()
    sources.nameServer = ListenAddress("127.0.0.1:\(server.port)")
    sources.names = ["_forebay._tcp.plant.example"]
    let error = #expect(throws: UnusableInput.self) { try sources.load() }
    #expect(error?.description == "_forebay._tcp.plant.example is not known to the DNS")
  }
}

/// Answers DNS questions over UDP on a free port of 127.0.0.1 until it goes.
private final class NameServer: Sendable {
  let port: Int
  private let descriptor: Int32

  /// - Parameter answer: from the bytes of a question to everything behind the id.
  init(_ answer: @escaping @Sendable ([UInt8]) -> [UInt8]) throws {
    let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard withLoopback(port: 0, { bind(fd, $0, $1) }) == 0 else { throw POSIXFailure("bind", "127.0.0.1") }
    descriptor = fd
    var bytes = [UInt8](repeating: 0, count: 128)
    var length = socklen_t(bytes.count)
    bytes.withUnsafeMutableBytes { raw in
      if let address = raw.baseAddress?.assumingMemoryBound(to: sockaddr.self) { getsockname(fd, address, &length) }
    }
    port = Int(bytes[2]) << 8 | Int(bytes[3])
    BlockingThread.start {
      var packet = [UInt8](repeating: 0, count: 512)
      var from = [UInt8](repeating: 0, count: 128)
      while true {
        var size = socklen_t(from.count)
        let sent = from.withUnsafeMutableBytes { raw -> Int? in
          guard let address = raw.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return nil }
          let count = recvfrom(fd, &packet, packet.count, 0, address, &size)
          guard count > 12 else { return nil }
          // Up to the end of the question, without what a resolver adds behind it.
          var end = 12
          while end < count, packet[end] != 0 { end += Int(packet[end]) + 1 }
          let reply = Array(packet[..<2]) + answer(Array(packet[12..<min(count, end + 5)]))
          return sendto(fd, reply, reply.count, 0, address, size)
        }
        if sent == nil { return }
      }
    }
  }

  deinit {
    shutdown(descriptor, Int32(SHUT_RDWR))
    close(descriptor)
  }
}
