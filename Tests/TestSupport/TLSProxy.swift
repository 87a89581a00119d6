/// A proxy that ends TLS and packs what it has gathered for 20 ms into large records, as proxies do that
/// stand before a broker; mosquitto itself writes one record for each packet.
package final class TLSProxy: Sendable {
  package let port: Int
  private let process: ChildProcess
  private let directory: TemporaryDirectory

  /// - Parameter target: the port of the broker, which is spoken to without TLS.
  package init(to target: Int, _ identity: Certificates.Identity) throws {
    directory = try TemporaryDirectory("proxy")
    let script = try directory.write(
      """
      import select, socket, ssl, sys, time
      context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
      context.load_cert_chain(sys.argv[2], sys.argv[3])
      listener = socket.socket()
      listener.bind(("127.0.0.1", 0))
      listener.listen()
      print(listener.getsockname()[1], flush=True)
      while True:
          plain, _ = listener.accept()
          client = context.wrap_socket(plain, server_side=True)
          broker = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
          client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
          while True:
              ready = [client] if client.pending() else select.select([client, broker], [], [])[0]
              if client in ready:
                  data = client.recv(65536)
                  if not data: break
                  broker.sendall(data)
              elif broker in ready:
                  time.sleep(0.02)
                  data = broker.recv(65536)
                  if not data: break
                  client.sendall(data)
          broker.close()
          client.close()

      """, to: "proxy.py")
    process = try ChildProcess(
      "python3", [script, "\(target)", identity.certificate, identity.key],
      output: directory.file("port"))
    let (process, directory) = (process, directory)
    var port: Int?
    _ = eventually(within: 30) {
      port = Int(TemporaryDirectory.read(directory.file("port")).split(separator: "\n").first ?? "")
      return port != nil || process.poll() != nil
    }
    guard let port else {
      throw POSIXFailure("start", "proxy \(TemporaryDirectory.read(directory.file("port")))")
    }
    self.port = port
  }
}
