import Telemetry

/// What senders and the disk hand to the receiver: header fields and body of a request, and records of its store. A
/// label that is taken says what was sent, and no body is taken that is not what its label says.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzReceiver(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let kind = bytes.first else { return 0 }
  let rest = Array(bytes.dropFirst())
  switch kind {
  case UInt8(ascii: "Q"): request(rest)
  case UInt8(ascii: "S"): record(rest)
  case UInt8(ascii: "R"):
    if let rule = try? FaultRule(String(decoding: rest, as: UTF8.self)) {
      var plan = FaultPlan([rule], seed: 1)
      for length in [0, 1, 1 << 20] { _ = plan.next(length: length, body: rest) }
    }
  default: break
  }
  return 0
}

/// Header fields up to an empty line, and the body behind it. `Forebay-Digest: right` stands for the one that fits, for
/// no fuzzer finds that by itself.
private func request(_ bytes: [UInt8]) {
  var fields: [String: String] = [:]
  var rest = bytes[...]
  while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
    let line = rest[..<end]
    rest = rest[(end + 1)...]
    guard !line.isEmpty else { break }
    guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
    fields[String(decoding: line[..<colon], as: UTF8.self).lowercased()] =
      String(decoding: line[(colon + 1)...].drop { $0 == UInt8(ascii: " ") }, as: UTF8.self)
  }
  let body = Array(rest)
  let isFitted = fields["forebay-digest"] == "right"
  if isFitted { fields["forebay-digest"] = Digest.zero.hex }
  guard var label = try? BatchLabel(field: { fields[$0.lowercased()] }) else { return }
  if isFitted {
    label.digest = Batch.digest(identity: label.identity, previous: label.previous, count: label.count, body: body)
  }
  require(label.count >= 1 && label.length >= 1, "a batch of nothing")
  let again = Dictionary(label.fields.map { ($0.name, $0.value) }) { $1 }
  require((try? BatchLabel(field: { again[$0] })) == label, "a label does not read back")
  require(label.lines.count == label.count, "\(label.lines) are not \(label.count) lines")
  guard let taken = try? BatchBody(body, label: label) else { return }
  require(taken.bytes.count == label.length && taken.starts.count == label.count + 1, "not what the label says")
  let lines = taken.lines(label.lines, held: label.lines)
  require(lines.count == taken.bytes.count, "lines are lost")
  store(BatchRecord(label: label, outcome: .taken([label.lines]), received: 1, body: body))
  store(BatchRecord(label: label, outcome: .refused(status: 400, reason: "no\nway"), received: 2, body: []))
}

private func store(_ record: BatchRecord) {
  var written: [UInt8] = []
  record.write(to: &written)
  guard let lengths = BatchRecord.lengths(prefix: Array(written.prefix(BatchRecord.prefixLength))) else {
    require(false, "a record has no prefix")
    return
  }
  let (head, body) = parts(written, lengths.head)
  require(body.count == lengths.body, "the body's length")
  guard
    let again = try? BatchRecord(prefix: Array(written.prefix(BatchRecord.prefixLength)), head: head, body: body)
  else {
    require(false, "a record does not read back")
    return
  }
  require(again.label == record.label && again.body == record.body, "another record")
  if case .taken = record.outcome { require(again.outcome == record.outcome, "other lines") }
}

private func parts(_ bytes: [UInt8], _ head: Int) -> (head: [UInt8], body: [UInt8]) {
  let rest = bytes.dropFirst(BatchRecord.prefixLength)
  return (Array(rest.prefix(head)), Array(rest.dropFirst(head)))
}

/// A head and a body, parted by a NUL, in a record whose lengths and check fit.
private func record(_ bytes: [UInt8]) {
  _ = BatchRecord.lengths(prefix: Array(bytes.prefix(BatchRecord.prefixLength)))
  let head = Array(bytes.prefix { $0 != 0 })
  let body = Array(bytes.dropFirst(head.count + 1))
  func number(_ value: Int) -> [UInt8] { [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: value >> $0) } }
  let lengths = number(head.count) + number(body.count)
  let prefix = BatchRecord.marker + Digest(of: lengths, head, body).bytes.prefix(8) + lengths
  guard let record = try? BatchRecord(prefix: prefix, head: head, body: body) else { return }
  if case .taken(let ranges) = record.outcome {
    for range in ranges {
      require(range.lowerBound >= 0 && range.upperBound <= record.label.whole.count, "lines that there are not")
    }
  }
}
