/// A gateway as the inventory names it: where it answers, and what is known of it beforehand.
struct FleetTarget: Sendable, Hashable {
  /// Files that a connection depends on.
  struct Credentials: Sendable, Hashable {
    /// Holds the bearer token.
    var tokenFile: String?
    /// PEM: the authorities that vouch for the gateway; nil: the system's.
    var authorities: String?
    /// PEM: our certificate and its key, for gateways that ask for one.
    var certificate: String?
    var key: String?

    var paths: [String] { [tokenFile, authorities, certificate, key].compactMap { $0 } }
  }

  /// `https://gw-042.plant.example:8420`, without a slash at its end. No two targets of a fleet have the same.
  var url: String
  var isEncrypted: Bool
  /// A name or an address (without brackets).
  var host: String
  var port: Int
  /// What the gateway's certificate must be for, where that is not `host`.
  var certificateName: String?
  /// What stands before `/v1/status`; empty, or begins with a slash and does not end with one.
  var path: String
  /// The id that the gateway must answer with; nil: whatever it says first.
  var name: String?
  var site: String?
  var labels: [String: String] = [:]
  var credentials = Credentials()

  /// The port of a URL that names none: where a gateway listens by default.
  static let defaultPort = 8420

  init(_ parsed: ConfigurationURL) {
    let scheme = parsed.scheme
    isEncrypted = scheme == "https"
    host = parsed.host
    port = parsed.port ?? FleetTarget.defaultPort
    let start = parsed.text.firstRange(of: "://")?.upperBound ?? parsed.text.startIndex
    var rest = parsed.text[start...].prefix { $0 != "?" }.drop { $0 != "/" }
    if rest.hasSuffix("/v1/status") { rest = rest.dropLast("/v1/status".count) }
    while rest.hasSuffix("/") { rest = rest.dropLast() }
    path = String(rest)
    url = "\(scheme)://\(FleetTarget.authority(parsed.host, port))\(path)"
  }

  /// Without the scheme: what a gateway is called before it has said its id.
  var place: String { url.firstRange(of: "://").map { String(url[$0.upperBound...]) } ?? url }

  static func authority(_ host: String, _ port: Int) -> String {
    host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
  }

  /// For the `Host` field.
  var authority: String { FleetTarget.authority(certificateName ?? host, port) }

  static func isLoopback(_ host: String) -> Bool {
    let url = try? ConfigurationURL(
      parsing: "http://\(authority(host, 1))", schemes: ["http"], allowsPath: false)
    return url?.isLoopback ?? false
  }
}
