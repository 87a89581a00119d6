package import Telemetry

/// One attempt to deliver a batch, as it went.
package struct DeliveryAttempt: Sendable, Hashable {
  package var uplink: String
  /// From 1, since the daemon started.
  package var number: Int
  /// Monotonic nanoseconds.
  package var began: Int64
  package var ended: Int64
  package var answer: Answer

  package init(uplink: String, number: Int, began: Int64, ended: Int64, answer: Answer) {
    self.uplink = uplink
    self.number = number
    self.began = began
    self.ended = ended
    self.answer = answer
  }
}

/// Is told how deliveries go: for figures and traces. Whatever it does must be short; delivery waits for it.
package protocol DeliveryObserver: Sendable {
  /// An attempt is over. With the answer ``Answer/hasIt`` the batch is delivered.
  func ended(_ attempt: DeliveryAttempt, of batch: Batch)
}
