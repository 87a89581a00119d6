import Telemetry

/// Any answer of an upstream: it never counts as a receipt unless it echoes identity and digest, and its
/// words reach people cut and on one line.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTPAnswer(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let parts = fields(UnsafeRawBufferPointer(start: start, count: count), count: 4)
  guard parts.count == 4, let status = Int(parts[0]), (100...999).contains(status) else { return 0 }
  let batch = HTTPAnswerFixture.batch
  let answer = HTTPAnswer(
    status: status, retryAfter: parts[1], date: parts[2].isEmpty ? nil : parts[2], body: Array(parts[3].utf8))
  switch answer.meaning(for: batch, rule: .strict, wall: 1_795_231_080_000_000_000) {
  case .hasIt:
    require(parts[3].lowercased().contains(batch.digest.hex), "a receipt without the digest")
    require((200..<300).contains(status) || status == 409, "\(status) is no receipt")
  case .notNow(_, let pause): require(pause.map { $0 >= 0 } ?? true, "a pause of \(pause ?? 0)")
  case .tooLarge(let reason), .refused(_, let reason):
    require(reason.unicodeScalars.count <= 200, "the upstream's words are cut")
    require(!reason.contains("\n"), "the upstream's words are one line")
  case .stillTakingIn, .unreachable, .credentials, .identityConflict, .unknownUpstream: break
  }
  return 0
}

enum HTTPAnswerFixture {
  static let batch: Batch = {
    let identity = BatchIdentity(
      gateway: "gw", pipeline: "climate", epoch: Epoch(random: 7), sequence: 1)
    let body = Array("{}\n".utf8)
    return Batch(
      identity: identity, version: "v", log: LogID(rawValue: "0"), firstOffset: Offset(0), lastOffset: Offset(0),
      count: 1, encoding: .ndjson, compression: .none, body: body, length: body.count,
      digest: Batch.digest(identity: identity, previous: .zero, count: 1, body: body), previous: .zero,
      sealed: Moment(boot: BootID(high: 0, low: 0), monotonic: 0, wall: 0, quality: .synchronised))
  }()
}
