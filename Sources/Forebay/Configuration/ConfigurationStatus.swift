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
    var api: StatusServerSettings? = StatusServerSettings(host: "127.0.0.1", port: 8420)
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

  private func api(_ section: ConfigurationSection) -> StatusServerSettings? {
    let listen = section.optional("listen")
    let anonymous = section.optional("anonymous")
    let hosts = section.optional("hosts")
    let tlsValue = section.optional("tls")
    let tokens = section.optional("tokens_file")
    let clients = section.optional("clients")
    var api = StatusServerSettings(host: "127.0.0.1", port: 8420)
    let expected = "an address and a port such as 127.0.0.1:8420, or off"
    var isOff = false
    if let listen, let text = listen.text(expected: expected) {
      isOff = text == "off"
      if let address = ListenAddress(text) {
        (api.host, api.port) = (address.host, address.port)
      } else if !isOff {
        listen.error("\(quoted(text)) is no address, expected \(expected)")
      }
    }
    if let word = anonymous?.choice(AnonymousWord.self) { api.anonymous = word == .viewer ? .viewer : nil }
    if let hosts {
      api.hosts = Set(hosts.items().compactMap { $0.text(expected: "a host's name")?.lowercased() })
    }
    api.tls = tlsValue.flatMap(tls)
    api.tokensFile = tokens?.tokensFile()
    for client in clients?.items() ?? [] {
      guard let section = client.section() else { continue }
      let name = section.required("name")?.text(expected: "a name in the certificate")
      let role = section.required("role")?.choice(Role.self)
      section.close()
      if let name, let role { api.certificates[name] = role }
    }
    if let clients, api.tls?.clientAuthorityFile == nil {
      clients.error("no client can show a certificate", hint: "add tls.client_ca_file")
    }
    if let tlsValue, api.tls?.clientAuthorityFile != nil, clients == nil {
      tlsValue.warning("certificates of clients open nothing", hint: "add status.clients with their names and roles")
    }
    if !isOff, !api.isLoopback, let listen { checkExposed(api, listen, anonymous) }
    return isOff ? nil : api
  }

  /// Whoever can be reached from other machines says who may come, and to nobody else than them.
  private func checkExposed(
    _ api: StatusServerSettings, _ listen: ConfigurationValue, _ anonymous: ConfigurationValue?
  ) {
    if api.tls == nil {
      listen.error(
        "\(api.host) can be reached from other machines, and tokens would go over the network in the clear",
        hint: "add status.tls with cert_file and key_file, or listen at 127.0.0.1")
    }
    if api.tokensFile == nil, api.certificates.isEmpty {
      listen.error(
        "\(api.host) can be reached from other machines, and nothing says who may",
        hint: "add status.tokens_file, or tls.client_ca_file and status.clients, or listen at 127.0.0.1")
    }
    if let anonymous, api.anonymous != nil {
      anonymous.error(
        "\(api.host) can be reached from other machines: only loopback may be open to everybody", hint: "leave it out")
    }
  }

  private func tls(_ value: ConfigurationValue) -> StatusServerSettings.TLS? {
    guard let section = value.section() else { return nil }
    let certificate = section.required("cert_file")?.file(.certificates)
    let key = section.required("key_file")?.file(.privateKey)
    let authority = section.optional("client_ca_file")?.file(.certificates)
    section.close()
    guard let certificate, let key else { return nil }
    return StatusServerSettings.TLS(certificateFile: certificate, keyFile: key, clientAuthorityFile: authority)
  }
}

extension ConfigurationValue {
  /// The absolute path of a file of tokens, which may be made later.
  fileprivate func tokensFile() -> String? {
    guard let path = location() else { return nil }
    switch context.files.read(path, AccessTokenFile.maximumBytes) {
    case .failure(.missing):
      warning("the file \(path) is not there: nobody has a token", hint: "forebay token create makes it")
    case .failure(let fault):
      error("the file \(path) \(fault.reason)", hint: hint(for: fault), concern: .surroundings)
    case .success(let contents):
      do throws(AccessTokenFile.Fault) {
        _ = try AccessTokenFile(contents.bytes)
      } catch {
        self.error("the file \(path): \(error)", concern: .surroundings)
      }
    }
    return path
  }
}
