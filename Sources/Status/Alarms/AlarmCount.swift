/// How many alarms of a kind and severity last.
package struct AlarmCount: Sendable {
  package let kind: AlarmKind
  package let severity: AlarmSeverity
  /// `kind` and `severity`, made once: a scrape writes all of them.
  package let labels: MetricLabels
  package var count = 0

  package init(_ kind: AlarmKind, _ severity: AlarmSeverity, count: Int = 0) {
    self.kind = kind
    self.severity = severity
    self.count = count
    labels = MetricLabels("kind", kind.rawValue).adding("severity", severity.rawValue)
  }

  /// None of any, by kind, then severity.
  static let none = AlarmKind.allCases.flatMap { kind in AlarmSeverity.allCases.map { AlarmCount(kind, $0) } }
}
