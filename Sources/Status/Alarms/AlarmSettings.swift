/// What the configuration says of alarms.
package struct AlarmSettings: Sendable, Hashable {
  /// Where the runbooks are: what `#kind` is put behind.
  package var runbooks = "/usr/share/doc/forebay/operations.md"
  /// Nanoseconds that something may wait for its delivery before there is an alarm.
  package var longestWait: Int64 = 3_600_000_000_000

  package init() {}

  /// The runbook of an alarm.
  package func runbook(_ kind: String) -> String { "\(runbooks)#\(kind)" }
}
