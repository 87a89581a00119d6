/// Stands for the answers of the daemon, which no request reaches here.
struct StatusFault {
  enum Kind { case unknown, invalid, conflict, unavailable }
  var kind: Kind
  var detail: String
}

/// What whoever connects to the status API says before anybody knows who it is: the target of the request, the name
/// under which we are asked, the certificate; and the file of tokens beside it. Each is read or refused, within bounds.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequest(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let kind = bytes.first else { return 0 }
  let rest = Array(bytes.dropFirst())
  switch kind {
  case UInt8(ascii: "T"): target(String(decoding: rest, as: UTF8.self))
  case UInt8(ascii: "H"): host(String(decoding: rest, as: UTF8.self))
  case UInt8(ascii: "C"):
    let names = CertificateNames.read(der: rest)
    require(names.reduce(0) { $0 + $1.utf8.count } <= rest.count, "names that are not in the certificate")
  case UInt8(ascii: "F"): tokens(rest)
  default: break
  }
  return 0
}

private func target(_ text: String) {
  guard let target = RequestTarget(text) else { return }
  require(text.utf8.first == UInt8(ascii: "/"), "no path")
  require(target.parameters.count <= 16, "parameters without end")
  let size =
    target.segments.reduce(0) { $0 + $1.utf8.count }
    + target.parameters.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
  require(size <= text.utf8.count, "more than was sent")
  require(!target.segments.contains(""), "an empty segment")
  // Written out again with everything escaped it means the same.
  func escaped(_ text: String) -> String {
    text.utf8.reduce(into: "") { out, byte in
      let digits = String(byte, radix: 16)
      out += digits.utf8.count == 1 ? "%0" + digits : "%" + digits
    }
  }
  let path = "/" + target.segments.map(escaped).joined(separator: "/")
  let query = target.parameters.map { "\(escaped($0.key))=\(escaped($0.value))" }.joined(separator: "&")
  require(RequestTarget(path + "?" + query) == target, "it does not read back")
}

private let rules = AccessRules(isLoopback: true, anonymous: nil, hosts: ["gw-042.plant"], certificates: [:])

private func host(_ text: String) {
  guard rules.permits(host: text) else { return }
  let name = text.lowercased()
  require(
    ["127.0.0.1", "localhost", "[::1]", "gw-042.plant"].contains { name == $0 || name.hasPrefix($0 + ":") },
    "another name is let in: \(text)")
}

private func tokens(_ bytes: [UInt8]) {
  do throws(AccessTokenFile.Fault) {
    let file = try AccessTokenFile(bytes)
    require(Set(file.tokens.map(\.name)).count == file.tokens.count, "a name twice")
    let written = file.tokens.map { $0.line + "\n" }.joined()
    require((try? AccessTokenFile(Array(written.utf8))) == file, "it does not read back")
    require(file.holder(of: "fb_0") == nil, "a token that nobody has")
  } catch {
    let text = error.description
    require(text.utf8.count < 200, "a fault without end")
    // Somebody may have put a token into the file: nothing of it is told.
    for line in bytes.split(separator: UInt8(ascii: "\n")) where line.count > 40 {
      require(!text.contains(String(decoding: line, as: UTF8.self)), "the line is quoted")
    }
  }
}
