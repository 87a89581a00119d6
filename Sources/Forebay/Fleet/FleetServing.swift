import ArgumentParser
import Status

/// Where `forebay fleet` serves its pages, and to whom.
struct FleetServing: ParsableArguments {
  @Option(help: ArgumentHelp("Serve /metrics and /v1/fleet here and go on asking.", valueName: "host:port"))
  var serve: String?

  @Option(
    help: ArgumentHelp(
      "File with the tokens of those who may ask ('forebay token create' makes it); without it, who is on this machine.",
      valueName: "file"))
  var serveTokensFile: String?

  @Option(help: ArgumentHelp("PEM file with the certificate chain for TLS.", valueName: "file"))
  var serveCertFile: String?

  @Option(help: ArgumentHelp("PEM file with the key of that certificate.", valueName: "file"))
  var serveKeyFile: String?

  @Option(
    parsing: .singleValue,
    help: ArgumentHelp("A name under which it is asked, beside those of loopback. May be repeated.", valueName: "name"))
  var serveHost: [String] = []

  /// Nil: it does not serve.
  func settings() throws -> StatusServer.Settings? {
    guard let serve else {
      let isUsed = serveTokensFile != nil || serveCertFile != nil || serveKeyFile != nil || !serveHost.isEmpty
      guard !isUsed else { throw ValidationError("--serve-... needs --serve.") }
      return nil
    }
    guard let address = ListenAddress(serve) else {
      throw ValidationError("--serve \(serve): expected host:port, such as 127.0.0.1:9180.")
    }
    // To whom tokens are given, all is open; without any, to everybody who can reach it.
    var settings = StatusServer.Settings(
      host: address.host, port: address.port, anonymous: serveTokensFile == nil ? .viewer : nil)
    settings.tokensFile = serveTokensFile
    settings.hosts = Set(serveHost.map { $0.lowercased() })
    switch (serveCertFile, serveKeyFile) {
    case (nil, nil): break
    case (let certificate?, let key?): settings.tls = .init(certificateFile: certificate, keyFile: key)
    default: throw ValidationError("--serve-cert-file and --serve-key-file go together.")
    }
    guard !settings.isLoopback else { return settings }
    guard settings.tls != nil else {
      throw ValidationError(
        "--serve \(serve): can be reached from other machines, and tokens would go over the network in the clear; "
          + "add --serve-cert-file and --serve-key-file, or serve at 127.0.0.1.")
    }
    guard settings.tokensFile != nil else {
      throw ValidationError(
        "--serve \(serve): can be reached from other machines, and nothing says who may ask; add "
          + "--serve-tokens-file, or serve at 127.0.0.1.")
    }
    return settings
  }
}
