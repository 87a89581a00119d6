import Glibc
import Ingest
import Synchronization
import Telemetry
import TestSupport
import Testing

/// On every path: no PUBACK before its commit, and none missing after it.
@Suite struct AcknowledgementOrderTests {
  /// What the broker saw of its client on all connections, each with how much was committed by then.
  private final class Ledger: Sendable {
    struct Line: Equatable {
      var connection: Int
      var kind: FakeBroker.Packet.Kind
      /// Of a PUBACK.
      var id: Int?
      var committed: Int
    }

    private let lines = Mutex<[Line]>([])
    private let log: MemoryLog

    init(_ log: MemoryLog) { self.log = log }

    func note(_ packet: FakeBroker.Packet, on connection: Int) {
      let committed = log.count
      lines.withLock {
        $0.append(Line(connection: connection, kind: packet.kind, id: packet.acknowledged, committed: committed))
      }
    }

    var all: [Line] { lines.withLock { $0 } }
    /// The identifiers that were acknowledged, in order.
    var acknowledged: [Int] { all.compactMap(\.id) }
    /// Whether every PUBACK came when as many messages as its identifier says were committed.
    var isInOrder: Bool { all.allSatisfy { line in line.id.map { $0 <= line.committed } ?? true } }
    func kinds(on connection: Int) -> [FakeBroker.Packet.Kind] {
      all.filter { $0.connection == connection && $0.kind != .subscribe }.map(\.kind)
    }
  }

  /// A broker that sends messages with the identifiers of the first connection, and from then on answers.
  private func broker(_ ledger: Ledger, sends ids: ClosedRange<Int>, resending: Bool = false) throws -> FakeBroker {
    let counter = Counter()
    return try FakeBroker { client in
      let number = counter.next()
      try client.accept(sessionPresent: number > 0)
      if number == 0 || resending {
        for id in ids { try client.send(.publish5("t/a", "m\(id - 1)", id: id, dup: number > 0)) }
      }
      while let packet = try client.next() {
        ledger.note(packet, on: number)
        if packet.kind == .pingreq { try client.send(FakeBroker.Packet(kind: .pingresp)) }
      }
    }
  }

  private func group(_ change: (inout GroupSettings) -> Void = { _ in }) -> GroupSettings {
    var group = GroupSettings()
    group.linger = 600_000_000_000
    change(&group)
    return group
  }

  /// Waits until everything is staged: the log is not asked, and the broker has nothing more to send.
  private func nothingLeaves(_ ledger: Ledger, seconds: Double = 0.4) -> Bool {
    !eventually(within: seconds) { !ledger.acknowledged.isEmpty }
  }

  @Test("the end of a group by count")
  func groupEnd() throws {
    let log = MemoryLog()
    let ledger = Ledger(log)
    log.state.withLock { $0.isBlocked = true }
    let broker = try broker(ledger, sends: 1...25)
    let rig = try Rig([.floor(broker.port)], group: group { $0.maximumCount = 10 }, log: log)
    #expect(eventually { log.attempts == 1 })
    #expect(nothingLeaves(ledger))
    log.state.withLock { $0.isBlocked = false }
    #expect(eventually { ledger.acknowledged.count == 20 })
    #expect(nothingMore(ledger, than: 20), "five are staged")
    rig.stop()
    #expect(ledger.acknowledged == Array(1...25))
    #expect(ledger.isInOrder)
  }

  private func nothingMore(_ ledger: Ledger, than count: Int) -> Bool {
    !eventually(within: 0.3) { ledger.acknowledged.count > count }
  }

  @Test("the end of a group by linger")
  func linger() throws {
    let log = MemoryLog()
    let ledger = Ledger(log)
    log.state.withLock { $0.milliseconds = 300 }
    let broker = try broker(ledger, sends: 1...7)
    let rig = try Rig([.floor(broker.port)], group: group { $0.linger = 300_000_000 }, log: log)
    #expect(eventually { ledger.acknowledged == Array(1...7) })
    #expect(ledger.isInOrder)
    _ = rig
  }

  @Test("a sign of life that is due while messages are staged: commit, acknowledgements, and then it")
  func keepalive() throws {
    let log = MemoryLog()
    let ledger = Ledger(log)
    log.state.withLock { $0.milliseconds = 300 }
    let broker = try broker(ledger, sends: 1...5)
    let rig = try Rig([.floor(broker.port) { $0.keepalive = 5 }], group: group(), log: log)
    #expect(nothingLeaves(ledger, seconds: 1))
    #expect(log.count == 0)
    #expect(eventually(within: 15) { ledger.kinds(on: 0).contains(.pingreq) })
    #expect(ledger.kinds(on: 0).prefix(6) == [.puback, .puback, .puback, .puback, .puback, .pingreq])
    #expect(ledger.acknowledged == Array(1...5))
    #expect(ledger.isInOrder)
    _ = rig
  }

  @Test("parking acknowledges what was committed, and closes")
  func parking() throws {
    let log = MemoryLog()
    let ledger = Ledger(log)
    log.state.withLock { $0.closesAt = 10 }
    let broker = try broker(ledger, sends: 1...25)
    let rig = try Rig([.floor(broker.port)], group: group { $0.maximumCount = 10 }, log: log)
    #expect(eventually { rig.status()?.state == .parked })
    #expect(eventually { !ledger.acknowledged.isEmpty })
    #expect(log.count == 10)
    #expect(ledger.acknowledged == Array(1...10))
    #expect(ledger.isInOrder)
  }

  @Test("a reload that changes or drops the source: commit, acknowledgements, DISCONNECT", arguments: [true, false])
  func reload(_ drops: Bool) throws {
    let log = MemoryLog()
    let ledger = Ledger(log)
    let broker = try broker(ledger, sends: 1...5)
    let rig = try Rig([.floor(broker.port)], group: group(), log: log)
    #expect(nothingLeaves(ledger))
    log.state.withLock { $0.isBlocked = true }
    rig.intake.reload(sources: drops ? [] : [.floor(broker.port) { $0.keepalive = 30 }])
    #expect(eventually { log.attempts == 1 })
    #expect(nothingLeaves(ledger))
    log.state.withLock { $0.isBlocked = false }
    #expect(
      eventually {
        ledger.kinds(on: 0) == [.puback, .puback, .puback, .puback, .puback, .disconnect]
      })
    #expect(ledger.isInOrder)
    if !drops { #expect(eventually { rig.status()?.state == .connected && broker.connections == 2 }) }
  }

  @Test("a reload that changes filters only: SUBSCRIBE carries no acknowledgement out")
  func filters() throws {
    let log = MemoryLog()
    let ledger = Ledger(log)
    let broker = try broker(ledger, sends: 1...5)
    let rig = try Rig([.floor(broker.port)], group: group(), log: log)
    #expect(nothingLeaves(ledger))
    rig.intake.reload(sources: [.floor(broker.port, filters: ["t/#", "u/#"])])
    #expect(nothingLeaves(ledger))
    #expect(log.count == 0)
    rig.stop()
    #expect(ledger.acknowledged == Array(1...5))
    #expect(ledger.isInOrder)
  }

  @Test("stopping: commit, acknowledgements, DISCONNECT")
  func stopping() throws {
    let log = MemoryLog()
    let ledger = Ledger(log)
    let broker = try broker(ledger, sends: 1...5)
    let rig = try Rig([.floor(broker.port)], group: group(), log: log)
    #expect(nothingLeaves(ledger))
    rig.stop()
    #expect(eventually { ledger.kinds(on: 0) == [.puback, .puback, .puback, .puback, .puback, .disconnect] })
    #expect(ledger.isInOrder)
    #expect(log.count == 5)
  }

  @Test("stopping with a log that fails acknowledges nothing, and says no DISCONNECT that would carry it out")
  func stoppingFails() throws {
    let log = MemoryLog()
    let ledger = Ledger(log)
    let broker = try broker(ledger, sends: 1...5)
    let rig = try Rig([.floor(broker.port)], group: group(), log: log)
    #expect(nothingLeaves(ledger))
    log.state.withLock { $0.failures = 1 }
    rig.stop()
    #expect(log.attempts == 1)
    #expect(!eventually(within: 0.4) { !ledger.kinds(on: 0).isEmpty })
  }

  @Test("a failed commit acknowledges nothing; what the broker sends again is acknowledged after its commit")
  func commitFails() throws {
    let log = MemoryLog()
    let ledger = Ledger(log)
    log.state.withLock { $0.failures = 1 }
    let broker = try broker(ledger, sends: 1...10, resending: true)
    let rig = try Rig([.floor(broker.port)], group: group { $0.maximumCount = 10 }, log: log)
    #expect(eventually(within: 20) { ledger.acknowledged == Array(1...10) })
    #expect(ledger.kinds(on: 0).isEmpty)
    #expect(ledger.isInOrder)
    #expect(log.count == 10)
    _ = rig
  }

  @Test("a recognised redelivery waits for what was staged before it, and is acknowledged without a commit of its own")
  func redelivery() throws {
    let log = MemoryLog()
    let ledger = Ledger(log)
    let counter = Counter()
    let broker = try FakeBroker { client in
      let number = counter.next()
      try client.accept(sessionPresent: number > 0)
      switch number {
      case 0:
        for id in 1...3 { try client.send(.publish5("t/a", "m\(id)", id: id)) }
        for _ in 1...3 { _ = try client.next() }
        log.state.withLock { $0.isBlocked = true }
        return
      case 1:
        try client.send(.publish5("t/a", "m1", id: 1, dup: true))
        guard let first = try client.next() else { return }
        ledger.note(first, on: 1)
        // At QoS 0, staged; behind it two that are known.
        try client.send(.publish5("t/z", "zero"))
        for id in 2...3 { try client.send(.publish5("t/a", "m\(id)", id: id, dup: true)) }
      default: break
      }
      while let packet = try client.next() { ledger.note(packet, on: number) }
    }
    let rig = try Rig([.floor(broker.port)], group: group { $0.linger = 300_000_000 }, log: log)
    #expect(eventually { ledger.acknowledged == [1] })
    #expect(log.attempts == 1)
    #expect(eventually { log.attempts == 2 })
    #expect(nothingMore(ledger, than: 1))
    log.state.withLock { $0.isBlocked = false }
    #expect(eventually { ledger.acknowledged == [1, 2, 3] })
    #expect(log.payloads == ["m1", "m2", "m3", "zero"])
    #expect(eventually { rig.status()?.redelivered == 3 })
  }
}
