internal import Spool
internal import Telemetry

/// One line a second: rate in, queue, rate out, bytes saved, ledger balance.
struct LiveView {
  let spool: String
  private var last: (time: Int64, received: Int64, delivered: Int64)?
  private var lines = 0

  init(spool: String) {
    self.spool = spool
  }

  mutating func show(_ status: StatusReport?) {
    guard let status else {
      line("the daemon does not answer at present")
      return
    }
    let now = SystemClock.monotonic()
    let delivered = status.pipelines.reduce(0) { $0 + $1.delivered }
    defer { last = (now, status.spool.received, delivered) }
    guard let last, now > last.time else { return }
    let seconds = Double(now - last.time) / 1e9
    let rateIn = Double(status.spool.received - last.received) / seconds
    let rateOut = Double(delivered - last.delivered) / seconds
    let queue = status.pipelines.reduce(0) {
      $0 + $1.backlog + Int64($1.openReadings) + $1.outboxReadings
    }
    let saved = LiveView.saved(status).map { Output.decimal(100 * $0, places: 1) + " %" } ?? "-"
    let balance: String
    if let audit = try? Audit.take(directory: spool) {
      balance = audit.balances ? "balanced" : "OFF"
    } else {
      balance = "?"
    }
    if lines % 20 == 0 {
      line("      IN/s   QUEUE     OUT/s   BYTES SAVED   BOOKS      RESIDENT   DELIVERED")
    }
    line(
      column(Output.decimal(rateIn, places: 0), 10) + column(Output.grouped(queue), 8)
        + column(Output.decimal(rateOut, places: 0), 10) + column(saved, 14) + "   "
        + balance.padded(8) + column(Output.bytes(status.residentBytes), 11)
        + column(Output.grouped(delivered), 12)
        + (status.alarms.first.map { "   ALARM \($0.name): \($0.textBesideName)" } ?? ""))
    lines += 1
  }

  /// The share of bytes that did not have to be sent, of what has been delivered since the daemon started:
  /// the payloads of so many messages, against what went out for them. Nil before the first delivery.
  static func saved(_ status: StatusReport) -> Double? {
    let messages = status.sources.reduce(0) { $0 + $1.messages }
    let bytes = status.sources.reduce(0) { $0 + $1.bytes }
    let delivered = status.uplinks.reduce(0) { $0 + $1.readingsDelivered }
    let sent = status.uplinks.reduce(0) { $0 + $1.bytesSent }
    guard messages > 0, bytes > 0, delivered > 0 else { return nil }
    return 1 - Double(sent) / (Double(bytes) / Double(messages) * Double(delivered))
  }

  private func column(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - text.count)) + text
  }

  private func line(_ text: String) {
    StandardStream.output.write(line: text)
  }
}

extension String {
  fileprivate func padded(_ width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }
}
