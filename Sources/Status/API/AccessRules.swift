internal import HTTPTypes

/// Who may do what.
struct AccessRules: Sendable, Hashable {
  /// Listens on loopback only.
  var isLoopback: Bool
  /// What somebody is who shows neither token nor certificate; nil: nobody.
  var anonymous: Role?
  /// Names beside loopback's under which this server is asked, without a port, in lower case.
  var hosts: Set<String>
  /// By a name in the certificate.
  var certificates: [String: Role]

  /// Whether the `Host` of a request is one of ours. A page of another site can have the browser ask us under a name
  /// of its own that it has made point to 127.0.0.1 (DNS rebinding), and would read the answer as its own: on
  /// loopback that name gives it away. Beyond loopback a token is needed, which such a page does not have.
  func permits(host authority: String) -> Bool {
    guard isLoopback else { return true }
    var name = authority.lowercased()[...]
    if let colon = name.lastIndex(of: ":"), !name.hasSuffix("]") { name = name[..<colon] }
    return ["127.0.0.1", "localhost", "[::1]"].contains(name) || hosts.contains(String(name))
  }

  /// What a request shows of who made it.
  struct Credentials: Sendable {
    /// Whose token stands in `Authorization`; nil where none stands there.
    var holder: AccessToken?
    /// `Authorization` has something.
    var isAuthorized: Bool
    /// Names in the client's certificate, which TLS has checked.
    var names: [String]
  }

  /// - Parameters:
  ///   - needed: nil: everybody may.
  ///   - changes: it does something.
  /// - Throws: 401 where nobody was named who may be there, 403 where somebody was who may not do this.
  func caller(
    needing needed: Role?, changes: Bool, _ credentials: Credentials, _ fields: HTTPFields
  ) throws(Problem) -> Caller {
    guard let needed else { return Caller(name: "anonymous", role: .viewer) }
    let caller = try caller(credentials, needing: needed)
    guard caller.role >= needed else {
      throw Problem(403, "Forbidden", "this needs the role \(needed.rawValue), and \(caller.name) is \(caller.role.rawValue)")
    }
    // A browser sends the certificate along with whatever a page of another site has it ask. That page cannot set
    // this content type without asking first, and is told no; a token in a header it does not have at all.
    if changes, !credentials.isAuthorized {
      let type = (fields[.contentType] ?? "").prefix { $0 != ";" }
      guard type.lowercased() == "application/json", ["same-origin", "none", nil].contains(fields[AccessRules.site])
      else {
        throw Problem(
          403, "Forbidden", "with a certificate alone an action needs Content-Type: application/json")
      }
    }
    return caller
  }

  /// Fetch Metadata Request Headers, W3C.
  private static let site = HTTPField.Name("Sec-Fetch-Site") ?? .origin

  private func caller(_ credentials: Credentials, needing needed: Role) throws(Problem) -> Caller {
    if credentials.isAuthorized {
      // Whoever shows a token means it: a wrong one does not fall back on less.
      guard let holder = credentials.holder else {
        throw AccessRules.unauthorized("the token is not known", error: "invalid_token")
      }
      return Caller(name: holder.name, role: holder.role)
    }
    let byCertificate = credentials.names.compactMap { name in certificates[name].map { Caller(name: name, role: $0) } }
    if let best = byCertificate.max(by: { $0.role < $1.role }) { return best }
    guard let anonymous else { throw AccessRules.unauthorized("a token is needed") }
    guard anonymous >= needed else {
      throw AccessRules.unauthorized("this needs a token of the role \(needed.rawValue)")
    }
    return Caller(name: "anonymous", role: anonymous)
  }

  /// RFC 6750, section 3.
  private static func unauthorized(_ detail: String, error: String? = nil) -> Problem {
    let challenge = "Bearer realm=\"forebay\"" + (error.map { ", error=\"\($0)\"" } ?? "")
    return Problem(401, "Unauthorized", detail, headers: [.wwwAuthenticate: challenge])
  }
}
