/// What the configuration says of alarms.
package struct AlarmSettings: Sendable, Hashable {
  /// Where the runbooks are: what `#kind` is put behind.
  package var runbooks = "/usr/share/doc/forebay/operations.md"
  /// Nanoseconds that something may wait for its delivery before there is an alarm.
  package var longestWait: Int64 = 3_600_000_000_000
  /// Nanoseconds before the end of a certificate from which somebody should know, and from which somebody is called;
  /// of those that are valid for a short time it is a share of that (``CredentialState``).
  package var expiryTicket: Int64 = 30 * 86_400_000_000_000
  package var expiryPage: Int64 = 7 * 86_400_000_000_000

  package init() {}

  /// The runbook of an alarm.
  package func runbook(_ kind: String) -> String { "\(runbooks)#\(kind)" }
}
