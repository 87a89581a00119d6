internal import Spool
internal import Status
internal import Telemetry

extension Configuration {
  /// How the daemon shows what it does.
  struct Status: Sendable, Hashable {
    /// Absolute path of the local socket that `forebay status` and its siblings speak to; at most 107
    /// bytes (unix(7)).
    var socket: String
    /// The HTTP API; nil: off.
    var api: StatusServer.Settings? = StatusServer.Settings(host: "127.0.0.1", port: 8420)
  }
}

extension ConfigurationDecoder {
  private enum AnonymousWord: String, CaseIterable {
    case viewer, none
  }

  func status(
    _ value: ConfigurationValue?, spool: SpoolSettings, in root: ConfigurationValue
  ) -> Configuration.Status {
    var status = Configuration.Status(socket: "")
    var socket: String?
    if let section = value?.section() {
      section.set(&socket, from: "socket") { $0.location() }
      status.api = api(section)
      section.close()
    }
    // sun_path has 108 bytes, with the zero at the end (unix(7)).
    status.socket = socket ?? spool.directory + "/forebay.sock"
    if status.socket.utf8.count > 107 {
      let culprit = socket == nil ? root.nearest("spool", "directory") : root.nearest("status", "socket")
      culprit.error(
        "the socket's path \(quoted(status.socket)) has \(status.socket.utf8.count) bytes, expected at most 107",
        hint: "set status.socket to a shorter path")
    }
    return status
  }

  private func api(_ section: ConfigurationSection) -> StatusServer.Settings? {
    let listen = section.optional("listen")
    let anonymous = section.optional("anonymous")
    let hosts = section.optional("hosts")
    var api = StatusServer.Settings(host: "127.0.0.1", port: 8420)
    let expected = "an address and a port such as 127.0.0.1:8420, or off"
    if let listen, let text = listen.text(expected: expected) {
      if text == "off" { return nil }
      guard let address = ListenAddress(text) else {
        listen.error("\(quoted(text)) is no address, expected \(expected)")
        return nil
      }
      (api.host, api.port) = (address.host, address.port)
    }
    if let word = anonymous?.choice(AnonymousWord.self) { api.anonymous = word == .viewer ? .viewer : nil }
    if let hosts {
      api.hosts = Set(hosts.items().compactMap { $0.text(expected: "a host's name")?.lowercased() })
    }
    if let listen, !api.isLoopback {
      listen.error(
        "\(api.host) can be reached from other machines", hint: "listen at 127.0.0.1")
    }
    return api
  }
}
