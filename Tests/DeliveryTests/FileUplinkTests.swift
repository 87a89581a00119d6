import Compression
@testable import Delivery
import Glibc
import Synchronization
import Telemetry
import TestSupport
import Testing

extension RealIO {
  @Suite("File uplink")
  struct FileUplinkTests {
    private let directory: TemporaryDirectory
    private var out: String { directory.file("out") }

    init() throws { directory = try TemporaryDirectory("files") }

    private func settings(bytes: Int = 1 << 20, age: Int64 = 3_600_000_000_000) -> UplinkSettings.File {
      var settings = UplinkSettings.File(directory: out)
      settings.maximumBytes = bytes
      settings.maximumAge = age
      return settings
    }

    private func uplink(
      _ settings: UplinkSettings.File? = nil, disk: DiskCalls = DiskCalls(),
      wall: @escaping @Sendable () -> Int64 = { 1_700_000_000_123_000_000 }
    ) -> FileUplink {
      FileUplink(settings: settings ?? self.settings(), disk: disk, wall: wall)
    }

    private func names() -> [String] {
      ((try? DiskCalls().names(in: out)) ?? []).filter { $0 != ".forebay" }
    }

    /// All lines of all finished files, in the order of their names.
    private func lines() throws -> [String] {
      try names().flatMap { name -> [String] in
        let bytes = Files.read("\(out)/\(name)")
        let text =
          name.hasSuffix(".gz")
          ? try Gzip.decompress(bytes, maximumOutput: 1 << 24)
          : name.hasSuffix(".zst") ? try Zstd.decompress(bytes, maximumOutput: 1 << 24) : bytes
        return try Files.lines(text, named: name)
      }
    }

    private static func lines(_ batches: [Batch]) -> [String] {
      batches.flatMap { batch in (0..<batch.count).map { #"{"n":\#(batch.identity.sequence),"line":\#($0)}"# } }
    }

    @Test(
      "a finished file holds the batches one after the other, and its name tells what they are",
      arguments: [
        (BatchCompression.gzip, BatchEncoding.ndjson, "ndjson.gz"), (.zstd, .ndjson, "ndjson.zst"),
        (.none, .ndjson, "ndjson"), (.gzip, .columns, "columns.gz"), (.zstd, .columns, "columns.zst"),
        (.none, .columns, "columns"),
      ])
    func contents(_ compression: BatchCompression, _ encoding: BatchEncoding, _ suffix: String) async throws {
      let batches = Sample.chain(5, compression: compression, encoding: encoding)
      let uplink = uplink()
      for batch in batches { #expect(await uplink.send(batch, attempt: 1) == .hasIt) }
      #expect(names().isEmpty, "nothing is seen before it is finished")
      await uplink.shutdown()
      #expect(names() == ["20231114T221320.123Z~gw-1~climate~0123456789abcdef~1-5.\(suffix)"])
      #expect(Files.read("\(out)/\(names()[0])") == batches.flatMap(\.body))
      #expect(try lines() == Self.lines(batches))
    }

    @Test("files are finished by size, and when the gateway, pipeline, epoch, encoding or compression changes")
    func rotation() async throws {
      let batches = Sample.chain(6)
      let uplink = uplink(settings(bytes: batches[0].body.count + 1))
      for batch in batches { #expect(await uplink.send(batch, attempt: 1) == .hasIt) }
      #expect(
        names().map { String($0.split(separator: "~")[4]) } == ["1-2.ndjson.gz", "3-4.ndjson.gz", "5-6.ndjson.gz"])
      #expect(await uplink.send(Sample.batch(7, compression: .zstd), attempt: 1) == .hasIt)
      #expect(await uplink.send(Sample.batch(8, compression: .gzip), attempt: 1) == .hasIt)
      #expect(await uplink.send(Sample.batch(9, encoding: .columns), attempt: 1) == .hasIt)
      #expect(await uplink.send(Sample.batch(1, epoch: Epoch(random: 5)), attempt: 1) == .hasIt)
      #expect(await uplink.send(Sample.batch(1, pipeline: "other"), attempt: 1) == .hasIt)
      await uplink.shutdown()
      #expect(names().count == 8)
      #expect(try lines().count == 33)
    }

    @Test("a file is finished by age although nothing more comes, and also after a restart")
    func age() async throws {
      let uplink = uplink(settings(age: 50_000_000), wall: wall)
      #expect(await uplink.send(Sample.batch(1), attempt: 1) == .hasIt)
      #expect(try await eventually { names().count == 1 })
      let slow = settings()
      await uplink.shutdown()

      let first = self.uplink(
        slow, disk: DiskCalls(fault: { call, _ in call == .rename ? .init(code: EIO) : nil }), wall: wall)
      // A process that another test starts holds the directory's lock until its exec closes it.
      #expect(try await eventually { await first.send(Sample.batch(2), attempt: 1) == .hasIt })
      await first.shutdown()
      #expect(names().count == 1)
      let second = self.uplink(settings(age: 50_000_000), wall: wall)
      #expect(try await eventually { names().count == 2 })
      await second.shutdown()
    }

    @Test("what it has taken it takes no second time, also after the files have been taken away")
    func consumed() async throws {
      let batches = Sample.chain(9)
      for round in 0..<3 {
        let uplink = uplink()
        for batch in batches { #expect(await uplink.send(batch, attempt: 1) == .hasIt) }
        await uplink.shutdown()
        #expect(names().count == (round == 0 ? 1 : 0))
        for name in names() { unlink("\(out)/\(name)") }
      }
      // Another body under an identity whose digest is still known.
      let uplink = uplink()
      let other = Sample.batch(9, previous: batches[7].digest, text: "{\"other\":1}\n{}\n{}\n")
      #expect(await uplink.send(other, attempt: 1) == .identityConflict(held: batches[8].digest))
      await uplink.shutdown()
    }

    @Test("batches out of order, parts and wholes: each line is there once")
    func partsAndWholes() async throws {
      var random = SplitMix64(state: 3)
      for round in 0..<5 {
        let epoch = Epoch(random: UInt64(round))
        let wholes = (1...6).map { Sample.batch(Int64($0), count: 5, epoch: epoch) }
        var pieces = wholes
        for whole in wholes {
          let halves = try Splitting.halves(of: whole)
          pieces += halves + (try Splitting.halves(of: halves[1]))
        }
        pieces += pieces
        pieces.shuffle(using: &random)
        var uplink = uplink(settings(bytes: 200))
        for piece in pieces {
          if UInt8.random(in: 0..<5, using: &random) == 0 {
            await uplink.shutdown()
            uplink = self.uplink(settings(bytes: 200))
          }
          #expect(await uplink.send(piece, attempt: 1) == .hasIt)
        }
        await uplink.shutdown()
        #expect(try lines().sorted() == Self.lines(wholes).sorted())
        for name in names() { unlink("\(out)/\(name)") }
      }
    }

    @Test("killed at any call and any byte, each batch is there once and whole", arguments: [20, 1_000_000])
    func killedAnywhere(_ bytes: Int) async throws {
      let batches = Sample.chain(4)
      var calls = 0
      // Dies at the 1st, 2nd, ... call that changes the disk, until a run comes through.
      for victim in 1... {
        let count = Mutex(0)
        let disk = DiskCalls(fault: { _, _ in
          let number = count.withLock {
            $0 += 1; return $0
          }
          // After its death it does nothing more.
          return number == victim ? .init(code: EIO, bytes: bytes) : number > victim ? .init(code: EIO) : nil
        })
        let path = directory.file("out-\(victim)")
        var settings = UplinkSettings.File(directory: path)
        settings.maximumBytes = batches[0].body.count * 2
        let dying = FileUplink(settings: settings, disk: disk, wall: { 1_700_000_000_000_000_000 })
        var answered: [Batch] = []
        for batch in batches {
          if await dying.send(batch, attempt: 1) == .hasIt { answered.append(batch) } else { break }
        }
        await dying.shutdown()
        let survivor = FileUplink(settings: settings, wall: { 1_700_000_000_000_000_000 })
        for batch in batches { #expect(await survivor.send(batch, attempt: 2) == .hasIt) }
        await survivor.shutdown()
        let names = try DiskCalls().names(in: path).filter { $0 != ".forebay" }
        let found = try names.flatMap { name in
          String(
            decoding: try Gzip.decompress(Files.read("\(path)/\(name)"), maximumOutput: 1 << 20),
            as: UTF8.self
          ).split(separator: "\n").map(String.init)
        }
        #expect(found == Self.lines(batches), "killed at call \(victim)")
        let hidden = try DiskCalls().names(in: "\(path)/.forebay/climate")
        #expect(hidden == ["index"], "killed at call \(victim)")
        calls = victim
        if answered.count == batches.count, count.withLock({ $0 < victim }) { break }
      }
      #expect(calls > 25)
    }

    @Test("errors of the disk come and go, at any call and any byte, and each batch is there once")
    func errorsPass() async throws {
      // Every call fails one time in four; the same uplink goes on.
      let random = Mutex(SplitMix64(state: 11))
      let codes = [ENOSPC, EIO, EACCES, EDQUOT]
      let disk = DiskCalls(fault: { _, count in
        random.withLock { random in
          guard UInt8.random(in: 0..<8, using: &random) == 0 else { return nil }
          return .init(
            code: codes.randomElement(using: &random) ?? EIO,
            bytes: Int.random(in: 0...max(1, count), using: &random))
        }
      })
      let batches = Sample.chain(60)
      let uplink = uplink(settings(bytes: 300), disk: disk)
      var kinds: Set<Unreachable.Kind> = []
      for batch in batches {
        for _ in 0..<1_000 {
          let answer = await uplink.send(batch, attempt: 1)
          if answer == .hasIt { break }
          guard case .unreachable(let cause) = answer else {
            Issue.record("\(answer)")
            break
          }
          kinds.insert(cause.kind)
          #expect(cause.detail.contains(directory.path))
        }
      }
      await uplink.shutdown()
      let last = self.uplink()
      for batch in batches { #expect(await last.send(batch, attempt: 2) == .hasIt) }
      await last.shutdown()
      #expect(kinds == [.disk, .diskFull])
      #expect(try lines().sorted() == Self.lines(batches).sorted())
    }

    @Test("a full disk gives back what it had begun to write, and says so")
    func full() async throws {
      let isFull = Mutex(false)
      let disk = DiskCalls(fault: { call, count in
        isFull.withLock { $0 } && call == .write ? .init(code: ENOSPC, bytes: count / 2) : nil
      })
      let uplink = uplink(disk: disk)
      let batches = Sample.chain(3)
      #expect(await uplink.send(batches[0], attempt: 1) == .hasIt)
      isFull.withLock { $0 = true }
      let answer = await uplink.send(batches[1], attempt: 1)
      guard case .unreachable(let cause) = answer else {
        Issue.record("\(answer)")
        return
      }
      #expect(cause.kind == .diskFull)
      #expect(cause.detail == "cannot write to \(out)/.forebay/climate/1.part: No space left on device")
      #expect(Files.read("\(out)/.forebay/climate/1.part") == batches[0].body)
      isFull.withLock { $0 = false }
      for batch in batches { #expect(await uplink.send(batch, attempt: 1) == .hasIt) }
      await uplink.shutdown()
      #expect(try lines() == Self.lines(batches))
    }

    @Test("a directory without its parent, one that is a file, and one in use are refused with the cause")
    func unusable() async throws {
      func answer(_ path: String) async -> Answer {
        let uplink = FileUplink(settings: .init(directory: path), wall: wall)
        let answer = await uplink.send(Sample.batch(1), attempt: 1)
        await uplink.shutdown()
        return answer
      }
      let file = try directory.write("", to: "file")
      #expect(
        await answer(directory.file("a/b")).description.contains("cannot make \(directory.file("a/b")): No such file"))
      #expect(await answer(file).description.contains("Not a directory"))
      let holder = uplink()
      #expect(await holder.send(Sample.batch(1), attempt: 1) == .hasIt)
      #expect(await answer(out).description.contains("another uplink or process delivers into this directory"))
      await holder.shutdown()
      #expect(await answer(out) == .hasIt)
    }

    @Test("a damaged index stops the pipeline with a clear word instead of repeating what was delivered")
    func damagedIndex() async throws {
      var uplink = uplink()
      #expect(await uplink.send(Sample.batch(1), attempt: 1) == .hasIt)
      await uplink.shutdown()
      let path = "\(out)/.forebay/climate/index"
      var bytes = Files.read(path)
      let index = try #require(FileIndex(bytes))
      #expect(FileIndex(index.encoded()) == index)
      bytes[20] ^= 1
      Files.write(bytes, to: path)
      uplink = self.uplink()
      #expect(await uplink.send(Sample.batch(1), attempt: 1).description.contains("\(path): it is damaged"))
      #expect(await uplink.send(Sample.batch(1, pipeline: "other"), attempt: 1) == .hasIt)
      await uplink.shutdown()
    }

    @Test(
      "an index with numbers that none can have is damaged, though its checksum fits",
      arguments: [
        ("run 1 4", "run 1 9223372036854775807"), ("run 1 4", "run 0 4"), (" 9 90 ", " -9 90 "), (" 9 90 ", " 0 90 "),
        (" 0-2", " -2-2"), ("generation 7", "generation 9223372036854775807"), ("part 8", "part -8"),
      ])
    func impossibleNumbers(number: (there: String, instead: String)) throws {
      let digest = Digest(of: [1]).hex
      let good = """
        forebay-files 1
        generation 7
        chain gw-1 \(Sample.epoch)
        run 1 4 \(digest)
        part 8 \(digest) \(digest) 9 90 0-2,4-5

        """
      func sealed(_ text: String) -> [UInt8] {
        let sum = String(crc32(Array(text.utf8)), radix: 16)
        return Array("\(text)crc32 \(String(repeating: "0", count: 8 - sum.count))\(sum)\n".utf8)
      }
      #expect(FileIndex(sealed(good)) != nil)
      #expect(good.contains(number.there))
      #expect(FileIndex(sealed(good.replacing(number.there, with: number.instead))) == nil)
    }

    @Test("no cut or flip of an index or journal is taken for another one")
    func damage() throws {
      var index = FileIndex()
      index.generation = 7
      index.finishing = .init(generation: 6, name: "x~y.ndjson")
      let key = TakenBatches.Key(gateway: "gw-1", epoch: Sample.epoch)
      let whole = Batch.Parent(digest: Digest(of: [1]), previous: .zero, count: 9, length: 90)
      for sequence in [1, 2, 5, 9] as [Int64] {
        index.taken.take(key, sequence: sequence, whole: whole, lines: RangeSet(0..<9))
      }
      index.taken.take(key, sequence: 3, whole: whole, lines: RangeSet([0..<2, 5..<9]))
      let bytes = index.encoded()
      #expect(FileIndex(bytes) == index)
      for cut in 0..<bytes.count { #expect(FileIndex(Array(bytes[..<cut])) == nil) }
      for place in bytes.indices {
        var flipped = bytes
        flipped[place] ^= 0x10
        #expect(FileIndex(flipped) == nil)
      }

      let head = FileJournal.Head(key: key, encoding: .columns, compression: .zstd, wall: 5)
      let entries = (1...3).map {
        FileJournal.Entry(end: $0 * 10, sequence: Int64($0), whole: whole, lines: RangeSet(0..<$0))
      }
      let lines = [head.encoded()] + entries.map { $0.encoded() }
      let journal = Array(lines.joined())
      for cut in 0...journal.count {
        let read = FileJournal(Array(journal[..<cut]))
        let valid = lines.indices.filter { lines[...$0].joined().count <= cut }.count
        #expect(read?.entries ?? [] == Array(entries.prefix(max(0, valid - 1))))
        #expect((read != nil) == (valid > 0) && (read?.length ?? 0) == lines[..<valid].joined().count)
      }
    }
  }
}
