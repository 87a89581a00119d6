@testable import Delivery
import Synchronization
import Telemetry
import TestSupport
import Testing

extension RealIO {
  /// The whole of delivery: outbox, core, driver and uplink, against a real server.
  @Suite("Uplink driver")
  struct UplinkDriverTests {
    private static func settings(_ url: String) -> UplinkSettings {
      var http = UplinkSettings.HTTP(url: url)
      http.timeout = 2_000_000_000
      var settings = UplinkSettings(name: "up", kind: .http(http))
      settings.retry.initial = 1_000_000
      settings.retry.maximum = 20_000_000
      settings.retry.hold = 20_000_000
      return settings
    }

    private static func driver(_ settings: UplinkSettings, _ outbox: MemoryOutbox) -> UplinkDriver {
      UplinkDriver(settings: settings, outbox: outbox, seed: 1, now: monotonic) { settings in
        switch settings.kind {
        case .http(let http):
          HTTPUplink(settings: http, concurrency: settings.batchesAtOnce, version: "0", wall: wall)
        case .file(let files): FileUplink(settings: files, wall: wall)
        }
      }
    }

    private static func line(_ batch: Batch) -> [String] {
      (batch.identity.part?.lines(of: batch.parent?.count ?? 0) ?? 0..<batch.count).map {
        "\(batch.identity.pipeline)/\(batch.identity.sequence)/\($0)"
      }
    }

    @Test("delivers what there is and what comes, with few bodies in memory")
    func delivers() async throws {
      let upstream = try await FaultyUpstream { _, _ in .receipt }
      let outbox = MemoryOutbox(Sample.chain(100))
      let driver = Self.driver(Self.settings(upstream.url()), outbox)
      await driver.start()
      #expect(try await eventually { outbox.isEmpty })
      for batch in Sample.chain(50, pipeline: "later") {
        outbox.append(batch)
        driver.wake()
      }
      #expect(try await eventually { outbox.isEmpty })
      let status = await driver.status()
      #expect(status.state == .idle && status.attempts == 150 && status.answers == [.hasIt: 150])
      #expect(status.batchesDelivered == 150 && status.readingsDelivered == 450 && status.lastError == nil)
      #expect(status.bytesSent == upstream.requests.reduce(0) { $0 + Int64($1.body.count) })
      #expect(status.nextAttemptIn == nil && status.inFlight == 0 && status.holds.isEmpty)
      #expect(outbox.largestFetch <= 4)
      await driver.stop()
      await upstream.shutdown()
    }

    @Test("an upstream that misbehaves in every way still gets every reading once")
    func everyFault() async throws {
      let random = Mutex(SplitMix64(state: 5))
      let taken = Mutex<[String: Int]>([:])
      let upstream = try await FaultyUpstream { request, _ in
        let identity = BatchIdentity((request["Idempotency-Key"] ?? "").filter { $0 != "\"" })
        func take() {
          taken.withLock { $0[identity?.description ?? "none", default: 0] += 1 }
        }
        switch random.withLock({ Int.random(in: 0..<40, using: &$0) }) {
        case 0: return .answer(503, fields: [("Retry-After", "0")])
        case 1: return .close
        case 2: return .closeHalfway(200)
        case 3: return .raw("garbage\r\n\r\n")
        case 4: return .answer(200, body: "<html>captive</html>")
        case 5: return .answer(302, fields: [("Location", "http://127.0.0.1:1/")])
        case 6: return .answer(401)
        case 7: return .answer(413)
        case 8: return .answer(400)
        case 9: return .answer(409)
        case 10: return .answer(500)
        case 11: return .answer(404)
        case 12:
          // Taken, and the answer lost.
          take()
          return .closeHalfway(200)
        case 13:
          return .answer(422, body: #"{"error":"identity-conflict"}"#)
        default:
          take()
          return .receipt
        }
      }
      let outbox = MemoryOutbox(Sample.chain(80, count: 4) + Sample.chain(80, pipeline: "other", count: 1))
      let driver = Self.driver(Self.settings(upstream.url()), outbox)
      await driver.start()
      #expect(try await eventually(within: 60) { outbox.isEmpty })
      let status = await driver.status()
      await driver.stop()
      await upstream.shutdown()
      let delivered = outbox.confirmed.flatMap(Self.line)
      #expect(Set(delivered).count == delivered.count)
      #expect(delivered.count + outbox.setAside.count == 400)
      #expect(outbox.confirmed.allSatisfy { batch in taken.withLock { $0[batch.identity.description] != nil } })
      #expect(status.answers.count >= 8 && status.readingsSetAside == outbox.setAside.count)
    }

    @Test("a refused reading goes to the dead letters with the upstream's reason, the rest is delivered")
    func deadLetter() async throws {
      let upstream = try await FaultyUpstream { request, _ in
        request.body.count > 0 && String(decoding: request.body, as: UTF8.self).contains("\"line\":5}")
          ? .answer(422, body: #"{"error":"schema","reason":"line is 5"}"#) : .receipt
      }
      let outbox = MemoryOutbox(Sample.chain(3, count: 9, compression: .none))
      let driver = Self.driver(Self.settings(upstream.url()), outbox)
      await driver.start()
      #expect(try await eventually { outbox.isEmpty })
      await driver.stop()
      await upstream.shutdown()
      #expect(Set(outbox.setAside.map(\.line)) == Set((1...3).map { "{\"n\":\($0),\"line\":5}\n" }))
      #expect(Set(outbox.setAside.map { "\($0.rule) \($0.reason)" }) == ["upstream.422 422: line is 5"])
      #expect(outbox.confirmed.flatMap(Self.line).count == 24)
    }

    @Test("an outbox that is closed for its recovery is tried again, and nothing is lost")
    func closedOutbox() async throws {
      let upstream = try await FaultyUpstream { _, _ in .receipt }
      let outbox = MemoryOutbox(Sample.chain(200))
      let driver = Self.driver(Self.settings(upstream.url()), outbox)
      await driver.start()
      for round in 0..<10 {
        #expect(try await eventually { outbox.confirmed.count >= 15 * round })
        let before = outbox.refusals
        outbox.close(true)
        #expect(try await eventually { outbox.refusals > before })
        outbox.close(false)
      }
      #expect(try await eventually { outbox.isEmpty })
      #expect(outbox.confirmed.map(\.identity.sequence).sorted() == Array(1...200))
      await driver.stop()
      await upstream.shutdown()
    }

    @Test("drains until the outbox is empty, or until the deadline, whichever comes first")
    func drains() async throws {
      let upstream = try await FaultyUpstream { _, _ in .receipt }
      let outbox = MemoryOutbox(Sample.chain(60))
      var settings = Self.settings(upstream.url())
      let driver = Self.driver(settings, outbox)
      await driver.start()
      await driver.drain(until: monotonic() + 20_000_000_000)
      #expect(outbox.isEmpty)
      upstream.follow { _, _ in .never }
      outbox.append(Sample.batch(61))
      let start = monotonic()
      await driver.drain(until: start + 200_000_000)
      #expect((200_000_000...1_500_000_000).contains(monotonic() - start) && !outbox.isEmpty)
      await driver.stop()
      #expect(await driver.status().inFlight == 0)

      // Nothing is to be tried before the deadline: no use in waiting for it.
      upstream.follow { _, _ in .answer(503, fields: [("Retry-After", "3600")]) }
      settings.retry.initial = 3_600_000_000_000
      let second = Self.driver(settings, outbox)
      await second.start()
      let again = monotonic()
      await second.drain(until: again + 20_000_000_000)
      #expect(monotonic() - again < 10_000_000_000)
      await second.stop()
      await upstream.shutdown()
    }

    @Test("a reload changes the upstream, and tries at once what was held")
    func reload() async throws {
      let wrong = try await FaultyUpstream { _, _ in .answer(404) }
      let right = try await FaultyUpstream { _, _ in .receipt }
      let outbox = MemoryOutbox(Sample.chain(40))
      var settings = Self.settings(wrong.url())
      settings.retry.hold = 3_600_000_000_000
      let driver = Self.driver(settings, outbox)
      await driver.start()
      #expect(try await eventually { await driver.status().state == .held })
      let holds = await driver.status().holds
      #expect(holds.map(\.cause) == [.unknownUpstream] && holds[0].reason.hasPrefix("404"))
      // Known once the others that were on their way have come back, too.
      #expect(try await eventually { await driver.status().nextAttemptIn ?? 0 > 1_700_000_000_000 })
      // The same upstream, mended.
      wrong.follow { _, number in number < 20 ? .receipt : .answer(404) }
      await driver.reload(settings)
      #expect(try await eventually { outbox.confirmed.count >= 10 })
      settings.kind = Self.settings(right.url()).kind
      await driver.reload(settings)
      #expect(try await eventually { outbox.isEmpty })
      #expect(right.requests.count >= 1)
      #expect(outbox.confirmed.map(\.identity.sequence).sorted() == Array(1...40))
      await driver.stop()
      await wrong.shutdown()
      await right.shutdown()
    }

    @Test("stopping ends what is on its way and leaves it in the outbox")
    func stops() async throws {
      let upstream = try await FaultyUpstream { _, number in number == 0 ? .receipt : .never }
      let outbox = MemoryOutbox(Sample.chain(10))
      var settings = Self.settings(upstream.url())
      settings.kind = .http(.init(url: upstream.url()))
      let driver = Self.driver(settings, outbox)
      await driver.start()
      #expect(try await eventually { upstream.requests.count == 5 && outbox.confirmed.count == 1 })
      let start = monotonic()
      await driver.stop()
      #expect(monotonic() - start < 5_000_000_000)
      #expect(outbox.waiting.count == 9)
      driver.wake()
      await driver.stop()
      await upstream.shutdown()
    }

    @Test("delivers 2000 batches over one connection pool; prints how fast")
    func throughput() async throws {
      let upstream = try await FaultyUpstream { _, _ in .receipt }
      let text = (0..<1000).map {
        #"{"device":"t-\#($0 % 37)","ts":\#(1_717_243_200_000 + $0),"temperature":2\#($0 % 10).5}"# + "\n"
      }.joined()
      let model = Sample.batch(1, count: 1000, text: text)
      let batches = (1...2000).map { sequence in
        var batch = model
        batch.identity.sequence = Int64(sequence)
        return batch
      }
      let outbox = MemoryOutbox(batches)
      let driver = Self.driver(Self.settings(upstream.url()), outbox)
      let start = monotonic()
      await driver.start()
      #expect(try await eventually(within: 60) { outbox.isEmpty })
      let seconds = Double(monotonic() - start) / 1e9
      print("HTTPUplink: \(Int(2000 / seconds)) batches/s of \(batches[0].body.count) bytes")
      await driver.stop()
      await upstream.shutdown()
    }
  }
}
