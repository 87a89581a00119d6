internal import Glibc
internal import Telemetry

/// A URL taken apart as far as a configuration needs it (RFC 3986, section 3).
struct ConfigurationURL: Sendable, Hashable {
  enum Fault: Error, Sendable, Hashable {
    case schemeMissing
    case unknownScheme(String)
    /// A user or password within the URL.
    case userInfo
    case hostMissing
    case hostCharacter
    /// Between brackets stands no IPv6 address.
    case address
    case port
    case pathNotAllowed
    case fragment
    /// A space, a control character or one that is not ASCII.
    case character
  }

  /// What is wrong and where: the offset of the first character (Unicode scalar) at fault.
  struct PlacedFault: Error, Sendable, Hashable {
    var fault: Fault
    var offset: Int
  }

  var text: String
  /// In lower case.
  var scheme: String
  /// Without the brackets of an IPv6 address.
  var host: String
  /// Nil where the URL leaves it to the scheme.
  var port: Int?

  /// - Parameters:
  ///   - schemes: in lower case.
  ///   - allowsPath: whether anything may follow the host and the port but a single slash.
  init(parsing text: String, schemes: [String], allowsPath: Bool) throws(PlacedFault) {
    let scalars = Array(text.unicodeScalars)
    func fault(_ fault: Fault, _ offset: Int) -> PlacedFault {
      PlacedFault(fault: fault, offset: min(offset, max(0, scalars.count - 1)))
    }
    func string(_ range: Range<Int>) -> String {
      var out = String.UnicodeScalarView()
      out.append(contentsOf: scalars[range])
      return String(out)
    }
    if let wrong = scalars.firstIndex(where: { $0.value <= 0x20 || $0.value >= 0x7F }) {
      throw fault(.character, wrong)
    }
    guard let colon = scalars.firstIndex(of: ":"), scalars[colon...].starts(with: "://".unicodeScalars),
      colon > 0
    else { throw fault(.schemeMissing, 0) }
    scheme = string(0..<colon).lowercased()
    guard schemes.contains(scheme) else { throw fault(.unknownScheme(scheme), 0) }

    let start = colon + 3
    let end = scalars[start...].firstIndex { "/?#".unicodeScalars.contains($0) } ?? scalars.count
    if scalars[start..<end].contains("@") { throw fault(.userInfo, start) }
    var portStart = end
    if start < end, scalars[start] == "[" {
      guard let close = scalars[start..<end].firstIndex(of: "]") else { throw fault(.address, start) }
      host = string(start + 1..<close)
      var address = in6_addr()
      guard inet_pton(AF_INET6, host, &address) == 1 else { throw fault(.address, start + 1) }
      portStart = close + 1
    } else {
      portStart = scalars[start..<end].firstIndex(of: ":") ?? end
      host = string(start..<portStart)
      guard !host.isEmpty else { throw fault(.hostMissing, start) }
      if let wrong = scalars[start..<portStart].firstIndex(where: { !ConfigurationURL.isHost($0) }) {
        throw fault(.hostCharacter, wrong)
      }
      guard host.utf8.count <= 253, host.first != ".", host.first != "-" else {
        throw fault(.hostCharacter, start)
      }
    }
    if portStart < end {
      let digits = string(portStart + 1..<end)
      guard scalars[portStart] == ":", digits.utf8.count <= 5,
        digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
        let number = Int(digits), (1...65535).contains(number)
      else { throw fault(.port, portStart + 1) }
      port = number
    } else {
      port = nil
    }
    if let hash = scalars[end...].firstIndex(of: "#") { throw fault(.fragment, hash) }
    if !allowsPath, end < scalars.count, string(end..<scalars.count) != "/" {
      throw fault(.pathNotAllowed, end)
    }
    self.text = text
  }

  private static func isHost(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", ".", "-", "_": true
    default: false
    }
  }

  /// Whether what is sent there stays on this machine.
  var isLoopback: Bool {
    host == "::1" || host.lowercased() == "localhost"
      || (host.hasPrefix("127.") && host.utf8.allSatisfy { $0 == UInt8(ascii: ".") || $0 < 0x3A })
  }
}

extension ConfigurationURL.Fault {
  /// What is wrong, and what to write instead.
  func texts(schemes: [String]) -> (message: String, hint: String?) {
    let wanted = schemes.map { "\($0)://" }.joined(separator: " or ")
    let example = "\(schemes.last ?? "https")://host.example"
    switch self {
    case .schemeMissing: return ("the URL has no scheme, expected \(wanted)", "write '\(example)'")
    case .unknownScheme(let scheme):
      let encrypted = schemes.contains("mqtts") ? "mqtts" : "https"
      let plain = schemes.contains("mqtt") ? "mqtt" : "http"
      let meant =
        switch scheme {
        case "tcp": plain
        case "ssl", "tls", "mqtt+ssl": encrypted
        default: Suggestion.nearest(to: scheme, among: schemes)
        }
      return (
        "the scheme \(quoted(scheme)) is not known here, expected \(wanted)",
        meant.map { "did you mean '\($0)://'?" }
      )
    case .userInfo:
      return (
        "a URL holds no user or password, because URLs end in logs",
        schemes.contains("mqtt")
          ? "use the keys 'user' and 'password_file'" : "use the key 'token_file'"
      )
    case .hostMissing: return ("the URL has no host, expected \(example)", nil)
    case .hostCharacter:
      return (
        "this is no host name, expected letters, digits, '.', '-' and '_', or an IPv6 address in brackets",
        nil
      )
    case .address: return ("this is no IPv6 address in brackets, such as [::1]", nil)
    case .port: return ("this is no port, expected 1 to 65535", nil)
    case .pathNotAllowed: return ("nothing may follow host and port here", "remove it")
    case .fragment: return ("a URL has no '#' part here", "remove it")
    case .character:
      return ("this character may not stand in a URL", "write it percent-encoded")
    }
  }
}

extension ConfigurationValue {
  /// A URL with one of some schemes; errors point at the character at fault.
  func url(schemes: [String], allowsPath: Bool) -> ConfigurationURL? {
    let example = schemes.map { "\($0)://" }.joined(separator: " or ")
    guard let text = text(expected: "a URL that begins with \(example)") else { return nil }
    do throws(ConfigurationURL.PlacedFault) {
      return try ConfigurationURL(parsing: text, schemes: schemes, allowsPath: allowsPath)
    } catch {
      let texts = error.fault.texts(schemes: schemes)
      self.error(at: node.place(ofCharacter: error.offset), texts.message, hint: texts.hint)
      return nil
    }
  }
}
