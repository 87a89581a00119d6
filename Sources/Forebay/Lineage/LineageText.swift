internal import Pipeline
internal import Spool
internal import Telemetry

/// What is known of a batch, for people.
struct LineageText {
  let account: BatchAccount

  init(_ account: BatchAccount) { self.account = account }

  var text: String {
    let batch = account.batch
    var lines = ["batch \(batch.identity)"]
    func add(_ name: String, _ value: String) {
      lines.append("  \(name)\(String(repeating: " ", count: max(1, 11 - name.count)))\(value)")
    }
    add(
      "readings",
      "\(Output.count(Int64(batch.count), "line")) in \(Output.count(Int64(batch.length), "byte")), "
        + "\(batch.encoding.rawValue), \(batch.compression.rawValue)")
    add("sealed", Output.time(batch.sealed) + (batch.quality == .synchronised ? "" : ", by a clock that was not set"))
    if batch.possibleDuplicate { add("", "a possible duplicate: it was sealed after the state had been lost") }
    if account.parts.isEmpty {
      add(Self.fate(batch).0, Self.fate(batch).1)
    } else {
      add("split", "into \(Output.count(Int64(account.parts.count), "part"))")
      for part in account.parts {
        let lines = part.identity.part?.lines(of: part.parent?.count ?? 0) ?? 0..<0
        let fate = Self.fate(part)
        add(
          "",
          "\(part.identity.part?.description ?? ""), lines \(lines.lowerBound + 1) to \(lines.upperBound): "
            + "\(fate.0) \(fate.1)")
      }
    }
    add("digest", batch.digest.hex)
    add("before", neighbour(account.before, agrees: account.followsBefore, digest: batch.previous))
    add("after", neighbour(account.after, agrees: account.precedesAfter, digest: nil))
    add("messages", "offsets \(batch.firstOffset) to \(batch.lastOffset) of log \(batch.log), \(keeping)")
    add("version", batch.version + (account.versionSince.map { ", first run \(Output.time($0))" } ?? ""))
    if let explanation = account.explanation {
      if let contract = explanation.contract { add("contract", "\(contract.name), SHA-256 \(contract.digest)") }
      for (index, step) in explanation.steps.enumerated() {
        add(index == 0 ? "steps" : "", "\(index + 1). \(step.text)")
      }
    } else {
      add("steps", "not known any more: too many versions came after this one")
    }
    return lines.joined(separator: "\n")
  }

  private var keeping: String {
    guard let kept = account.kept else { return "no longer kept" }
    if account.isWhollyKept { return "all kept" }
    return "of which \(kept.first) to \(kept.end.rawValue - 1) are kept"
  }

  private func neighbour(_ batch: BatchLineage?, agrees: Bool?, digest: Digest?) -> String {
    if digest == .zero { return "none: it is the first of its epoch" }
    guard let batch else { return digest.map { "\($0.hex), of which nothing is known here" } ?? "nothing is known" }
    return "\(batch.identity), digest \(batch.digest.hex)"
      + (agrees == true ? "" : ": THE CHAIN IS BROKEN, the digests do not fit")
  }

  private static func fate(_ batch: BatchLineage) -> (String, String) {
    let time = batch.left.map { "\(Output.time($0))" } ?? "at a time that is not known"
    return switch batch.fate {
    case .waiting: ("waits", "for \(batch.uplink)")
    case .delivered: ("delivered", "\(time) to \(batch.uplink)")
    case .setAside: ("set aside", "\(time), refused by \(batch.uplink)")
    }
  }
}
