import Glibc
import NIOCore
import TestSupport
import Testing

@testable import forebay

@Suite("What cannot be listened on") struct ListenAddressTests {
  @Test("a port that is taken is named in words, as NIO says it")
  func taken() async throws {
    let other = try LoopbackListener()
    let address = ListenAddress(host: "127.0.0.1", port: other.port)
    let error = await #expect(throws: (any Error).self) {
      _ = try await SimulatedGateways(
        SimulatedGateways.Plan(count: 1, faultyEvery: 0, faults: []), on: address, tls: nil, wrong: nil)
    }
    let found = try #require(error)
    #expect(address.obstacle(found, option: "--listen") == "is taken by another program: name another with --listen")
  }

  @Test("a name that there is not, and an address of another machine, are told apart")
  func elsewhere() async throws {
    for (host, wanted) in [
      ("none.invalid", "cannot be listened on: there is no such name; name another with --listen"),
      ("192.0.2.1", "is no address of this machine: name one that is with --listen"),
    ] {
      let address = ListenAddress(host: host, port: 0)
      let error = await #expect(throws: (any Error).self) {
        _ = try await SimulatedGateways(
          SimulatedGateways.Plan(count: 1, faultyEvery: 0, faults: []), on: address, tls: nil, wrong: nil)
      }
      #expect(address.obstacle(try #require(error), option: "--listen") == wanted)
    }
  }

  @Test(
    "what the system refuses has its cause and the way out, and nothing of the library's",
    arguments: [
      (EACCES, 80, "cannot be listened on: ports below 1024 are not for this user; name another with --listen"),
      (EMFILE, 8420, "cannot be listened on: Too many open files; --listen names another"),
    ])
  func refused(code: Int32, port: Int, wanted: String) {
    let error = IOError(errnoCode: code, reason: "bind(descriptor:ptr:bytes:)")
    #expect(ListenAddress(host: "127.0.0.1", port: port).obstacle(error, option: "--listen") == wanted)
  }

  @Test("a simulated gateway that is parked says it in the words of a real one")
  func simulated() {
    let text = SimulatedStatus.text(of: 9, answers: 1)
    #expect(
      text.contains(
        "the disk has 12 MiB free, 1024 MiB are to be kept: make room on the disk, or lower spool.min_free"))
  }
}
