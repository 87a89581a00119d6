import TestSupport
import Testing

@Suite("The flow through TLS")
struct SecuredFlowTests {
  @Test("delivers all of 5,000 messages through a proxy that packs many into one TLS record")
  func coalescedRecords() throws {
    let house = try House("tls")
    let certificates = try Certificates()
    let proxy = try TLSProxy(to: house.broker.port, certificates.server)
    var options = House.Options()
    // The certificate is for this name.
    options.url = "mqtts://localhost:\(proxy.port)"
    options.source = "ca_file: \(certificates.authority)"
    try house.configure(options)
    try house.startUpstream()
    try house.startDaemon()
    // In parts: the last messages of each have nothing behind them that would push them out.
    for part in 0..<10 {
      try house.publish(devices: 50, count: 500, firstSeq: part * 10 + 1)
      try house.settle(received: (part + 1) * 500)
    }
    try house.expectDelivered(count: 5_000)
    try house.expectProof()
    #expect(try house.status().sources[0].state == "connected")
  }
}
