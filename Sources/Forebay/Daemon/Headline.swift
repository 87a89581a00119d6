extension StatusReport {
  /// What was measured, as one sentence without its full stop: when messages came last, what waits, which uplinks fail.
  /// It claims no more than that: nobody knows whether a device that says nothing is well. The terminal, the page and
  /// the fleet's summary have it in the same words.
  var headline: String {
    ([messagesPart, waitingPart].compactMap { $0 } + uplinkParts).joined(separator: "; ").capitalisedAtStart
  }

  /// Nil: from a daemon that does not say.
  private var messagesPart: String? {
    guard !sources.isEmpty else { return "no source is configured" }
    // It has counted messages, and does not say when.
    if sources.contains(where: { $0.messages > 0 && $0.lastMessageSeconds == nil }) { return nil }
    let heard = sources.compactMap { source in source.lastMessageSeconds.map { (source.name, $0) } }.sorted {
      $0.1 < $1.1
    }
    let up = Output.duration(seconds: uptimeSeconds)
    guard let newest = heard.first, let oldest = heard.last else { return "no message since the start \(up) ago" }
    func ago(_ source: (String, Double)) -> String { "\(Output.duration(seconds: source.1)) ago" }
    guard sources.count > 1 else { return "last message \(ago(newest))" }
    var text = "last message \(ago(newest)) (\(newest.0))"
    let silent = sources.count - heard.count
    if silent > 0 {
      text += ", none from \(silent) of \(sources.count) sources since the start \(up) ago"
    } else {
      text += ", from \(oldest.0) \(ago(oldest))"
    }
    return text
  }

  private var waitingPart: String {
    let readings = pipelines.reduce(0) { $0 + $1.outboxReadings + Int64($1.openReadings) }
    let messages = pipelines.map(\.backlog).max() ?? 0
    var parts: [String] = []
    if messages > 0 { parts.append(Output.count(messages, "message")) }
    if readings > 0 { parts.append(Output.count(readings, "reading")) }
    return parts.isEmpty ? "no reading waits for delivery" : "waiting: " + parts.joined(separator: ", ")
  }

  /// Names at most; the others are in the tables.
  private static let mostUplinks = 2

  private var uplinkParts: [String] {
    let all = uplinks.compactMap { uplink -> String? in
      if let failing = uplink.failingSeconds {
        return "uplink \(uplink.name) has failed for \(Output.duration(seconds: failing))"
      }
      return ["held", "paused", "retrying"].contains(uplink.state) ? "uplink \(uplink.name) is \(uplink.state)" : nil
    }
    guard all.count > StatusReport.mostUplinks else { return all }
    return ["\(all.count) of \(uplinks.count) uplinks do not deliver"]
  }
}

extension String {
  fileprivate var capitalisedAtStart: String { prefix(1).uppercased() + dropFirst() }
}
