import Glibc
import Synchronization
import Telemetry

/// One request as it came over the wire.
struct ReceiverRequest: Sendable {
  var method: String
  /// Header fields, names in lower case. Of several with one name, the values joined by commas.
  var fields: [String: String]
  var body: [UInt8]
  /// The body was longer than the receiver takes; what was read of it is not kept.
  var tooLong = false
}

/// What goes back over the wire.
enum ReceiverReply: Sendable, Hashable {
  struct Answer: Sendable, Hashable {
    var status: Int
    var contentType = "application/json"
    var fields: [String: String] = [:]
    var body: String
  }

  case answer(Answer)
  /// The beginning of the answer, and then the end of the connection.
  case half(Answer)
  /// These bytes instead of HTTP, and then the end of the connection.
  case raw(String)
  /// The end of the connection, without an answer.
  case drop
  /// Nothing, ever.
  case silence
}

/// What a receiver has done since it began.
struct ReceiverTotals: Sendable, Hashable {
  var requests = 0
  /// Batches and parts of which something was taken.
  var batches = 0
  var readings = 0
  /// Bytes on the wire of what was taken.
  var bytes = 0
  /// Batches and parts that were held already.
  var duplicates = 0
  var refused = 0
  var conflicts = 0
  /// Requests that failed because the receiver was told to.
  var faults = 0

  var text: String {
    [(batches, "batch"), (readings, "reading"), (bytes, "byte"), (duplicates, "duplicate")]
      .map { Output.count(Int64($0.0), $0.1) }.joined(separator: ", ")
      + ", \(refused) refused, \(Output.count(Int64(conflicts), "conflict")), "
      + "\(Output.count(Int64(faults), "fault")) injected"
  }

  var json: String {
    CompactJSON.object { out in
      out.add("requests", requests)
      out.add("batches", batches)
      out.add("readings", readings)
      out.add("bytes", bytes)
      out.add("duplicates", duplicates)
      out.add("refused", refused)
      out.add("conflicts", conflicts)
      out.add("faults", faults)
    }
  }
}

/// Answers requests as docs/delivery-protocol.md says, unless it is told to fail.
final class ReceiverService: Sendable {
  private let writer: StoreWriter
  private let maximumBytes: Int
  private let state: Mutex<State>

  private struct State {
    var faults: FaultPlan
    var tokens: [Secret]
    var totals = ReceiverTotals()
  }

  /// - Parameters:
  ///   - maximumBytes: of a body, compressed and uncompressed.
  ///   - tokens: of which senders must present one; empty: nothing.
  init(writer: StoreWriter, maximumBytes: Int, tokens: [Secret], faults: FaultPlan) {
    self.writer = writer
    self.maximumBytes = maximumBytes
    state = Mutex(State(faults: faults, tokens: tokens))
  }

  var totals: ReceiverTotals { state.withLock { $0.totals } }

  /// From now on fails after these rules, and asks for one of these tokens.
  func reload(faults: FaultPlan, tokens: [Secret]) {
    state.withLock { state in
      state.faults = faults
      state.tokens = tokens
    }
  }

  /// Calls `reply` once, on whatever thread has the answer.
  func handle(_ request: ReceiverRequest, reply: @escaping @Sendable (ReceiverReply) -> Void) {
    state.withLock { $0.totals.requests += 1 }
    guard request.method == "POST" else {
      return reply(
        .answer(.init(status: 405, fields: ["Allow": "POST"], body: error("method-not-allowed"))))
    }
    if let rule = fault(for: request) { return fail(request, rule, reply: reply) }
    guard isAuthorised(request.fields) else {
      return reply(
        .answer(
          .init(
            status: 401, fields: ["WWW-Authenticate": "Bearer"],
            body: error("unauthorised", "the bearer token is missing or wrong"))))
    }
    take(request) { outcome in reply(.answer(outcome)) }
  }

  // MARK: Taking

  private func take(
    _ request: ReceiverRequest,
    done: @escaping @Sendable (ReceiverReply.Answer) -> Void
  ) {
    switch check(request) {
    case .failure(let failure): refuse(failure.label, failure.refusal, done: done)
    case .success(let label):
      let size = request.body.count
      writer.submit(.batch(label, wire: request.body)) { [self] outcome in
        done(answer(outcome, label: label, size: size))
      }
    }
  }

  private struct CheckFailure: Error {
    /// Nil when the request does not say what batch it is about.
    var label: BatchLabel?
    var refusal: ReceiverRefusal
  }

  /// The checks in the order of docs/delivery-protocol.md, section 6.
  private func check(_ request: ReceiverRequest) -> Result<BatchLabel, CheckFailure> {
    var label: BatchLabel?
    func failure(
      _ status: Int, _ name: String, _ reason: String
    ) -> Result<BatchLabel, CheckFailure> {
      let refusal = ReceiverRefusal(status: status, error: name, reason: reason)
      return .failure(CheckFailure(label: label, refusal: refusal))
    }
    let encoding = request.fields["content-encoding"] ?? BatchCompression.none.rawValue
    let knowsEncoding = BatchCompression(rawValue: encoding.lowercased()) != nil
    let type = request.fields["content-type"] ?? ""
    let knowsType = BatchEncoding(mediaType: type) != nil
    let parsed: BatchLabel
    do {
      parsed = try BatchLabel { name in
        if name == "Content-Encoding", !knowsEncoding { return nil }
        if name == "Content-Type", !knowsType { return nil }
        return request.fields[name.lowercased()]
      }
    } catch {
      return failure(400, "malformed", "\(error)")
    }
    label = parsed
    guard knowsType else {
      let known = BatchEncoding.allCases.map(\.mediaType).joined(separator: " or ")
      return failure(415, "content-type", "expected \(known), not '\(type.prefix(80))'")
    }
    guard knowsEncoding else {
      return failure(
        415, "content-encoding",
        "'\(encoding.prefix(80))' is neither gzip, zstd nor identity")
    }
    guard !request.tooLong, parsed.length <= maximumBytes else {
      return failure(413, "too-large", "this receiver takes up to \(maximumBytes) bytes")
    }
    guard let expected = request.fields["content-digest"] else {
      return failure(400, "malformed", "Content-Digest: is missing")
    }
    let digest = "sha-256=:\(Base64.encode(Digest(of: request.body).bytes)):"
    guard expected == digest else {
      return failure(
        503, "content-digest-mismatch", "the body was damaged on the way: it is \(digest)")
    }
    do {
      _ = try BatchBody(request.body, label: parsed)
    } catch {
      return failure(error.status, error.error, error.reason)
    }
    return .success(parsed)
  }

  private func refuse(
    _ label: BatchLabel?, _ refusal: ReceiverRefusal,
    done: @escaping @Sendable (ReceiverReply.Answer) -> Void
  ) {
    let answer = ReceiverReply.Answer(
      status: refusal.status, body: error(refusal.error, refusal.reason))
    guard refusal.isFinal else { return done(answer) }
    state.withLock { $0.totals.refused += 1 }
    guard let label else { return done(answer) }
    writer.submit(.refusal(label, refusal)) { [self] outcome in
      if case .failed(let failure) = outcome { return done(unavailable(failure)) }
      done(answer)
    }
  }

  private func answer(
    _ outcome: StoreWriter.Outcome, label: BatchLabel, size: Int
  ) -> ReceiverReply.Answer {
    switch outcome {
    case .taken(let readings):
      state.withLock { state in
        state.totals.batches += 1
        state.totals.readings += readings
        state.totals.bytes += size
      }
      return .init(status: 200, body: receipt(label, label.digest))
    case .hasIt:
      state.withLock { $0.totals.duplicates += 1 }
      return .init(status: 200, body: receipt(label, label.digest))
    case .conflict(let held):
      state.withLock { $0.totals.conflicts += 1 }
      return conflict(label, held, "another body is held under this identity")
    case .brokenLink(let held):
      state.withLock { $0.totals.conflicts += 1 }
      return conflict(label, held, "its neighbour in the chain was another batch")
    case .refusalRecorded: return .init(status: 500, body: error("internal"))
    case .failed(let failure): return unavailable(failure)
    }
  }

  private func unavailable(_ failure: BatchStoreError) -> ReceiverReply.Answer {
    .init(
      status: 503, fields: ["Retry-After": "5"], body: error("store-failed", failure.description))
  }

  private func receipt(_ label: BatchLabel, _ digest: Digest) -> String {
    CompactJSON.object {
      $0.add("identity", label.identity.description)
      $0.add("digest", digest.hex)
    }
  }

  private func conflict(
    _ label: BatchLabel, _ held: Digest, _ reason: String
  ) -> ReceiverReply.Answer {
    let body = CompactJSON.object {
      $0.add("error", "identity-conflict")
      $0.add("identity", label.identity.description)
      $0.add("digest", held.hex)
      $0.add("reason", reason)
    }
    return .init(status: 422, body: body)
  }

  private func error(_ name: String, _ reason: String? = nil) -> String {
    CompactJSON.object {
      $0.add("error", name)
      if let reason { $0.add("reason", reason) }
    }
  }

  /// Whether the header fields have a token that counts: how long the answer takes says nothing of any.
  func isAuthorised(_ fields: [String: String]) -> Bool {
    let tokens = state.withLock { $0.tokens }
    if tokens.isEmpty { return true }
    let given = Digest(of: Array((fields["authorization"] ?? "").utf8)).bytes
    var isKnown = false
    for token in tokens where areSameSecrets(Digest(of: Array("Bearer ".utf8), token.revealed).bytes, given) {
      isKnown = true
    }
    return isKnown
  }

  // MARK: Failing

  private func fault(for request: ReceiverRequest) -> FaultRule? {
    let label = label(of: request)
    var text: [UInt8] = []
    if let label, label.length <= maximumBytes, state.withLock({ $0.faults.readsBodies }) {
      text = (try? BatchBody(request.body, label: label))?.bytes ?? []
    }
    let length = label?.length ?? request.body.count
    return state.withLock { state in
      let rule = state.faults.next(length: length, body: text)
      if rule != nil { state.totals.faults += 1 }
      return rule
    }
  }

  private func label(of request: ReceiverRequest) -> BatchLabel? {
    try? BatchLabel { request.fields[$0.lowercased()] }
  }

  private func fail(
    _ request: ReceiverRequest, _ rule: FaultRule,
    reply: @escaping @Sendable (ReceiverReply) -> Void
  ) {
    let label = label(of: request)
    let fields = rule.retryAfter.map { ["Retry-After": String($0)] } ?? [:]
    switch rule.effect {
    case .silent: reply(.silence)
    case .garbage: reply(.raw("220 this is not HTTP\r\nneither is this\r\n\r\n"))
    case .captive:
      let page = "<html><body><h1>Welcome</h1><form>Room <input name=\"room\"></form></body></html>"
      reply(.answer(.init(status: 200, contentType: "text/html", fields: fields, body: page)))
    case .redirect:
      reply(
        .answer(
          .init(status: 302, fields: ["Location": "/elsewhere"], body: error("injected"))))
    case .conflict:
      guard let label else { return reply(.answer(.init(status: 400, body: error("malformed")))) }
      let other = Digest(of: label.digest.bytes)
      reply(.answer(conflict(label, other, "told to fail")))
    case .hasIt:
      take(request) { answer in
        guard answer.status == 200 else { return reply(.answer(answer)) }
        reply(.answer(.init(status: 409, body: answer.body)))
      }
    case .half: take(request) { reply(.half($0)) }
    case .dropAfterStore: take(request) { _ in reply(.drop) }
    case .status(409):
      let body = CompactJSON.object {
        $0.add("error", "in-progress")
        if let label { $0.add("identity", label.identity.description) }
      }
      reply(.answer(.init(status: 409, fields: fields, body: body)))
    case .status(let status):
      let refusal = ReceiverRefusal(status: status, error: "injected", reason: "told to fail")
      refuse(label, refusal) { answer in
        var answer = answer
        answer.fields.merge(fields) { $1 }
        reply(.answer(answer))
      }
    }
  }
}

/// Base 64 (RFC 4648, section 4).
enum Base64 {
  static func encode(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var out: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let group = bytes[start..<min(start + 3, bytes.count)]
      let value = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
      for i in 0..<4 {
        out.append(i <= group.count ? alphabet[value >> (18 - 6 * i) & 63] : UInt8(ascii: "="))
      }
    }
    return String(decoding: out, as: UTF8.self)
  }
}
