internal import HTTPTypes

/// Who may do what.
struct AccessRules: Sendable, Hashable {
  /// Listens on loopback only.
  var isLoopback: Bool
  /// What somebody is who shows neither token nor certificate; nil: nobody.
  var anonymous: Role?
  /// Names beside loopback's under which this server is asked, without a port, in lower case.
  var hosts: Set<String>

  /// Whether the `Host` of a request is one of ours. A page of another site can have the browser ask us under a name
  /// of its own that it has made point to 127.0.0.1 (DNS rebinding), and would read the answer as its own: on
  /// loopback that name gives it away. Beyond loopback a token is needed, which such a page does not have.
  func permits(host authority: String) -> Bool {
    guard isLoopback else { return true }
    var name = authority.lowercased()[...]
    if let colon = name.lastIndex(of: ":"), !name.hasSuffix("]") { name = name[..<colon] }
    return ["127.0.0.1", "localhost", "[::1]"].contains(name) || hosts.contains(String(name))
  }

  /// - Throws: 401 where nobody was named who may be there, 403 where somebody was who may not do this.
  func caller(for route: Route, of head: HTTPRequest) throws(Problem) -> Caller {
    guard let needed = route.role else { return Caller(name: "anonymous", role: .viewer) }
    guard let anonymous else {
      throw Problem(401, "Unauthorized", "a token is needed", headers: [.wwwAuthenticate: "Bearer"])
    }
    guard anonymous >= needed else {
      throw Problem(
        401, "Unauthorized", "this needs a token of the role \(needed.rawValue)",
        headers: [.wwwAuthenticate: "Bearer"])
    }
    return Caller(name: "anonymous", role: anonymous)
  }
}
