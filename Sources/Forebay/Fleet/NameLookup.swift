internal import CLinux
internal import Glibc

/// Looks up lists of hosts in the DNS through the system's resolver.
struct NameLookup {
  struct Fault: Error, Sendable, Hashable {
    var reason: String
  }

  /// Nil: the servers of /etc/resolv.conf. An IPv4 address otherwise.
  var server: ListenAddress?

  /// A DNS message over TCP has at most so many bytes (RFC 1035, section 4.2.2): about 1,000 SRV records.
  private static let mostBytes = 65_535

  /// The services of a name (RFC 2782), by priority, then by name.
  func services(_ name: String) throws(Fault) -> [DNSAnswer.Service] {
    let records = try answer(name, .service).services
    // RFC 2782: a single target "." says that there is no such service.
    let real = records.filter { !$0.host.isEmpty && $0.port > 0 }
    guard !real.isEmpty else { throw Fault(reason: "has no SRV records") }
    return real.sorted { ($0.priority, $0.host, $0.port) < ($1.priority, $1.host, $1.port) }
  }

  /// The IPv4 and IPv6 addresses of a name.
  func addresses(_ name: String) throws(Fault) -> [String] {
    var found: [String] = []
    var fault: Fault?
    for kind in [DNSAnswer.Kind.address4, .address6] {
      do throws(Fault) { found += try answer(name, kind).addresses } catch { fault = error }
    }
    if found.isEmpty { throw fault ?? Fault(reason: "has no addresses") }
    return found.sorted()
  }

  private func answer(_ name: String, _ kind: DNSAnswer.Kind) throws(Fault) -> DNSAnswer {
    var bytes = [UInt8](repeating: 0, count: NameLookup.mostBytes)
    let length = forebay_dns_query(
      name, Int32(kind.rawValue), server?.host, Int32(server?.port ?? 0), &bytes, Int32(bytes.count))
    guard length >= 0 else {
      switch -length {
      case HOST_NOT_FOUND: throw Fault(reason: "is not known to the DNS")
      case NO_DATA: return DNSAnswer()
      case TRY_AGAIN: throw Fault(reason: "cannot be looked up now: no name server answers")
      default: throw Fault(reason: "cannot be looked up: the name server failed")
      }
    }
    do throws(DNSAnswer.Malformed) {
      return try DNSAnswer(bytes[..<min(Int(length), bytes.count)], for: kind)
    } catch {
      throw Fault(reason: "cannot be looked up: the name server's answer is damaged")
    }
  }
}

/// The records of one kind in a DNS message (RFC 1035, section 4).
struct DNSAnswer: Sendable, Hashable {
  enum Kind: UInt16, Sendable {
    case address4 = 1
    case address6 = 28
    case service = 33
  }

  struct Service: Sendable, Hashable {
    var priority: Int
    var port: Int
    /// Without the dot at its end.
    var host: String
  }

  struct Malformed: Error {}

  var services: [Service] = []
  var addresses: [String] = []

  init() {}

  /// - Throws: when the message ends too early or its names lead in circles.
  init(_ message: ArraySlice<UInt8>, for kind: Kind) throws(Malformed) {
    var reader = Reader(bytes: Array(message))
    reader.offset = 4
    let questions = try reader.number()
    let answers = try reader.number()
    reader.offset = 12
    for _ in 0..<questions {
      _ = try reader.name()
      try reader.skip(4)
    }
    for _ in 0..<answers {
      _ = try reader.name()
      let type = try reader.number()
      try reader.skip(6)
      let length = try reader.number()
      let end = reader.offset + length
      guard end <= reader.bytes.count else { throw Malformed() }
      if type == Int(kind.rawValue) {
        switch kind {
        case .address4:
          guard length == 4 else { throw Malformed() }
          addresses.append(reader.bytes[reader.offset..<end].map(String.init).joined(separator: "."))
        case .address6:
          guard length == 16 else { throw Malformed() }
          addresses.append(DNSAnswer.text(Array(reader.bytes[reader.offset..<end])))
        case .service:
          let priority = try reader.number()
          try reader.skip(2)
          let port = try reader.number()
          services.append(Service(priority: priority, port: port, host: try reader.name()))
        }
      }
      reader.offset = end
    }
  }

  private static func text(_ address: [UInt8]) -> String {
    var out = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let isText = address.withUnsafeBytes { inet_ntop(AF_INET6, $0.baseAddress, &out, socklen_t(out.count)) != nil }
    return isText ? String(decoding: out.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : "::"
  }

  private struct Reader {
    let bytes: [UInt8]
    var offset = 0

    mutating func skip(_ count: Int) throws(Malformed) {
      guard offset + count <= bytes.count else { throw Malformed() }
      offset += count
    }

    mutating func number() throws(Malformed) -> Int {
      try skip(2)
      return Int(bytes[offset - 2]) << 8 | Int(bytes[offset - 1])
    }

    /// A name, following pointers (RFC 1035, section 4.1.4), each of which must lead backwards.
    mutating func name() throws(Malformed) -> String {
      var labels: [String] = []
      var place = offset
      var earliest = offset
      var hasJumped = false
      while true {
        guard place < bytes.count else { throw Malformed() }
        let length = Int(bytes[place])
        if length & 0xC0 == 0xC0 {
          guard place + 1 < bytes.count else { throw Malformed() }
          let target = (length & 0x3F) << 8 | Int(bytes[place + 1])
          guard target < earliest else { throw Malformed() }
          if !hasJumped { offset = place + 2 }
          hasJumped = true
          earliest = target
          place = target
          continue
        }
        guard length < 64, place + 1 + length <= bytes.count, labels.count < 128 else { throw Malformed() }
        place += 1
        if length == 0 {
          if !hasJumped { offset = place }
          return labels.joined(separator: ".")
        }
        labels.append(String(decoding: bytes[place..<place + length], as: UTF8.self))
        place += length
      }
    }
  }
}
