import Foundation
import TestSupport
import Testing

/// Every secret that a configuration can have, and everything that the daemon writes and says.
@Suite("Secrets")
struct SecretsTests {
  private static let password = "correct-horse-battery"
  private static let token = "tok-5f4dcc3b5aa765d61d83"
  private static let tokenKey = "6b65792d666f722d746f6b656e732d6f662d666f726562617921"

  /// How a secret could be written by accident: as it is, as the bytes that its hexadecimal digits stand for, in
  /// base 64, as a list of numbers.
  private static var forms: [String] {
    [password, token, tokenKey, "key-for-tokens-of-forebay!"].flatMap { secret in
      let bytes = Array(secret.utf8)
      return [
        secret, Data(bytes).base64EncodedString(), bytes.prefix(8).map(String.init).joined(separator: ", "),
        bytes.map { String($0, radix: 16) }.joined(),
      ]
    }
  }

  @Test("of a full configuration are in no log, no status and nothing that a command prints, at the debug level")
  func nowhere() throws {
    let box = try TemporaryDirectory("passwords")
    let passwords = box.file("passwd")
    let made = try ChildProcess.run("mosquitto_passwd", ["-b", "-c", passwords, "forebay", Self.password])
    #expect(made.status == 0, "\(made.output)")
    chmod(passwords, 0o644)
    chmod(box.path, 0o755)
    var options = House.Options()
    options.brokerConfiguration = "allow_anonymous true\npassword_file \(passwords)\n"
    options.source = "user: forebay\n      password_file: mqtt.password"
    options.pipeline =
      "mask: { owner: tokenise }\n    token_keys: [{ id: k1, file: token.key }]\n    sequence: seq\n    drift: true"
    options.extra = "log: { level: trace, format: json }"
    let house = try House("secrets", options)
    for (name, text) in [("mqtt.password", Self.password), ("up.token", Self.token), ("token.key", Self.tokenKey)] {
      try house.directory.write(text + "\n", to: name)
      chmod(house.directory.file(name), 0o600)
    }
    options.uplinkKind =
      "http: { url: \"http://127.0.0.1:\(house.upstreamPort)/v1/batches\", token_file: up.token, timeout: 2 s }"
    try house.configure(options)
    let upstream = try ChildProcess(
      House.forebay,
      [
        "receive", "--listen", "127.0.0.1:\(house.upstreamPort)", "--store", house.store, "--token-file",
        house.directory.file("up.token"),
      ], output: house.directory.file("upstream.log"))
    defer {
      upstream.signal(SIGKILL)
      _ = upstream.wait(seconds: 5)
    }
    try house.wait("the upstream listens") { MosquittoBroker.accepts(port: house.upstreamPort) }
    try house.startDaemon()
    let payload = #"{"device":"d1","seq":1,"ts":1795231080000,"owner":"Ann Example"}"#
    func publish() throws {
      let sent = try ChildProcess.run(
        "mosquitto_pub",
        [
          "-p", "\(house.broker.port)", "-u", "forebay", "-P", Self.password, "-q", "1", "-t", "sensors/d1/x", "-m",
          payload,
        ])
      #expect(sent.status == 0, "\(sent.output)")
    }
    try publish()
    try house.settle(received: 1)
    // Then the upstream refuses the credentials, and the configuration is read again.
    upstream.signal(SIGTERM)
    _ = upstream.wait(seconds: 10)
    try house.directory.write("another-token\n", to: "wrong.token")
    let strict = try ChildProcess(
      House.forebay,
      [
        "receive", "--listen", "127.0.0.1:\(house.upstreamPort)", "--store", house.store, "--token-file",
        house.directory.file("wrong.token"),
      ], output: house.directory.file("upstream.log"))
    try publish()
    try house.wait("it is held") { try !house.status().uplinks[0].holds.isEmpty }
    house.daemon?.signal(SIGHUP)
    try house.wait("it is reloaded") {
      TemporaryDirectory.read(house.directory.file("daemon.log")).contains("configuration reloaded")
    }
    let place = ["--spool", house.spool]
    var said: [String: String] = [:]
    for (command, arguments) in [
      ("status", ["--json", "--socket", house.spool + "/forebay.sock"]),
      ("status", ["--socket", house.spool + "/forebay.sock"]),
      ("devices", ["--pipeline", "machines", "--values", "--json"] + place), ("audit", ["--json"] + place),
      ("check", ["--config", house.configurationPath]),
      ("try", ["--config", house.configurationPath, "--json"] + place),
      ("lineage", ["--help"]), ("dead-letters", ["list", "--json"] + place),
    ] {
      said["\(command) \(arguments.first ?? "")"] = try house.run(command, arguments).output
    }
    strict.signal(SIGKILL)
    _ = strict.wait(seconds: 5)
    #expect(house.stopDaemon() == 0)
    said["the log"] = TemporaryDirectory.read(house.directory.file("daemon.log"))
    said["the upstream's log"] = TemporaryDirectory.read(house.directory.file("upstream.log"))
    for (place, text) in said {
      for form in Self.forms { #expect(!text.contains(form), "\(form) in \(place): \(text)") }
      #expect(!text.contains("Ann Example"), "a masked field in \(place)")
    }
    try Self.expectStructure(said["the log"] ?? "")
  }

  /// Every line is an object with a time, a level and a constant message, and batches are named.
  private static func expectStructure(_ log: String) throws {
    var messages: Set<String> = []
    var batches: Set<String> = []
    for line in log.split(separator: "\n") {
      let object = try #require(
        try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String], "\(line)")
      let message = try #require(object["message"])
      #expect(object["time"] != nil && object["level"] != nil)
      #expect(!message.contains { $0.isNumber }, "what differs belongs into the metadata: \(line)")
      messages.insert(message)
      if let batch = object["batch"] {
        batches.insert(batch)
        #expect(object["offset"] != nil, "\(line)")
      }
    }
    #expect(messages.contains("a batch is sealed") && messages.contains("an attempt to deliver a batch has ended"))
    #expect(batches.contains { $0.hasPrefix("gw/machines/") && $0.hasSuffix("/1") }, "\(batches)")
  }
}
