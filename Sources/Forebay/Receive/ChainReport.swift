import Telemetry

/// What the check of one chain found.
struct ChainReport: Sendable, Hashable {
  /// Sequences that are not held whole.
  struct Gap: Sendable, Hashable {
    var sequences: ClosedRange<Int64>
    /// Readings that were refused and not taken since.
    var refused = 0
    /// Those of them that were refused only together with others.
    var unsplit = 0
    /// Lines that were neither taken nor refused; nil when whole batches are missing, whose lines
    /// nobody here can count.
    var missing: [Range<Int>]?

    /// Whether everything in it is accounted for.
    var isRefused: Bool { missing?.isEmpty == true }

    var text: String {
      let name =
        sequences.count == 1
        ? "\(sequences.lowerBound)" : "\(sequences.lowerBound)-\(sequences.upperBound)"
      guard let missing else { return "\(name): missing" }
      var parts: [String] = []
      if refused > 0 { parts.append("\(refused) readings refused") }
      if unsplit > 0 { parts.append("\(unsplit) of them only together with others") }
      if !missing.isEmpty {
        let lines = missing.prefix(10).map { "\($0.lowerBound)-\($0.upperBound - 1)" }
        let rest = missing.count > 10 ? " and more" : ""
        parts.append("lines \(lines.joined(separator: ", "))\(rest) missing")
      }
      return "\(name): \(parts.joined(separator: ", "))"
    }
  }

  enum Verdict: String, Sendable, Hashable {
    /// Every sequence up to the last is held or was refused for good, and every digest fits.
    case complete
    /// Something is missing.
    case incomplete
    /// A digest or a link does not fit, or something is stored twice.
    case broken
  }

  var key: ChainKey
  /// Batches held whole, also those that came in parts.
  var batches = 0
  var readings = 0
  /// Uncompressed bytes of the readings.
  var bytes = 0
  /// The highest sequence of which anything is known.
  var highest: Int64 = 0
  /// Readings refused and not taken since.
  var refused = 0
  /// Those of them that were refused only together with others: their sender has yet to split them.
  var unsplit = 0
  /// Readings stored more than once.
  var repeated = 0
  /// Readings whose sender did not know whether it had delivered them under another identity.
  var possibleDuplicates = 0
  /// The replay that the batches come from.
  var replay: ReplayID?
  var gaps: [Gap] = []
  /// The first faults, in words.
  private(set) var faults: [String] = []
  private(set) var faultCount = 0

  init(key: ChainKey) { self.key = key }

  static let faultsKept = 20

  mutating func fault(_ text: String) {
    faultCount += 1
    if faults.count < ChainReport.faultsKept { faults.append(text) }
  }

  var verdict: Verdict {
    if faultCount > 0 { return .broken }
    return gaps.allSatisfy(\.isRefused) ? .complete : .incomplete
  }

  /// As docs/delivery-protocol.md, section 9 says, with more members.
  var json: String {
    CompactJSON.object { out in
      out.add("chain", key.description)
      out.add("verdict", verdict.rawValue)
      out.add("highest", highest)
      out.add("batches", batches)
      out.add("readings", readings)
      out.add("bytes", bytes)
      out.add("refused", refused)
      out.add("refused_unsplit", unsplit)
      out.add("duplicates", repeated)
      out.add("possible_duplicates", possibleDuplicates)
      if let replay { out.add("replay", replay.rawValue) }
      let missing = gaps.filter { $0.missing == nil }.map { gap in
        "[\(gap.sequences.lowerBound),\(gap.sequences.upperBound)]"
      }
      out.add("missing", raw: CompactJSON.array(missing))
      let partial = gaps.compactMap { gap -> String? in
        guard let missing = gap.missing, !missing.isEmpty else { return nil }
        let ranges = missing.map { "[\($0.lowerBound),\($0.upperBound)]" }
        return CompactJSON.object {
          $0.add("sequence", gap.sequences.lowerBound)
          $0.add("missing", raw: CompactJSON.array(ranges))
        }
      }
      out.add("partial", raw: CompactJSON.array(partial))
      out.add("faults", raw: CompactJSON.array(faults.map(CompactJSON.quoted)))
    }
  }

  var text: String {
    var lines = ["\(key)\(replay.map { " (replay \($0))" } ?? ""): \(verdict.rawValue)"]
    lines.append(
      "  batches 1-\(highest): \(batches) held, \(Output.count(Int64(readings), "reading")), "
        + Output.count(Int64(bytes), "byte"))
    lines.append(
      "  \(Output.count(Int64(refused), "reading")) refused, \(repeated) stored twice, "
        + "\(Output.count(Int64(possibleDuplicates), "possible duplicate")), "
        + Output.count(Int64(gaps.count), "gap"))
    lines += gaps.prefix(ChainReport.faultsKept).map { "  gap \($0.text)" }
    if gaps.count > ChainReport.faultsKept {
      lines.append("  and \(gaps.count - ChainReport.faultsKept) more gaps")
    }
    lines += faults.map { "  fault \($0)" }
    if faultCount > faults.count { lines.append("  and \(faultCount - faults.count) more faults") }
    return lines.joined(separator: "\n")
  }
}

/// What the check of a whole store found.
struct StoreReport: Sendable, Hashable {
  var path: String
  var chains: [ChainReport] = []
  /// Bytes in the middle of the file that are no record.
  var damaged: [Range<Int64>] = []
  /// Bytes behind the last record.
  var tail: Range<Int64>?

  /// A tail is no fault: it was never acknowledged, or is just being written.
  var isComplete: Bool { damaged.isEmpty && chains.allSatisfy { $0.verdict == .complete } }

  var json: String {
    CompactJSON.object { out in
      out.add("store", path)
      out.add("complete", isComplete)
      out.add("readings", chains.reduce(0) { $0 + $1.readings })
      out.add("chains", raw: CompactJSON.array(chains.map(\.json)))
      let ranges = damaged.map { range in
        CompactJSON.object {
          $0.add("offset", range.lowerBound)
          $0.add("bytes", range.count)
        }
      }
      out.add("damaged", raw: CompactJSON.array(ranges))
      out.add("tail_bytes", tail?.count ?? 0)
    }
  }

  var text: String {
    var lines = chains.map(\.text)
    for range in damaged {
      lines.append("\(path): \(range.count) damaged bytes at offset \(range.lowerBound)")
    }
    if let tail {
      lines.append("\(path): \(tail.count) bytes behind the last record, at offset \(tail.lowerBound)")
    }
    let readings = chains.reduce(0) { $0 + $1.readings }
    lines.append(
      "\(isComplete ? "complete" : "NOT COMPLETE"): \(Output.count(Int64(chains.count), "chain")), "
        + Output.count(Int64(readings), "reading"))
    return lines.joined(separator: "\n")
  }
}
