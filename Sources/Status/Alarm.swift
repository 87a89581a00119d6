/// How urgent an alarm is (the terms of the SRE workbook, "Alerting on SLOs").
package enum AlarmSeverity: String, Sendable, Hashable, CaseIterable, Comparable, Codable {
  /// Somebody looks at it in working hours.
  case ticket
  /// Somebody is called: data is being lost, or soon will be, or its consumers wait.
  case page

  package static func < (left: AlarmSeverity, right: AlarmSeverity) -> Bool {
    left == .ticket && right == .page
  }
}

/// Something that a person should know of, for as long as it lasts.
package struct Alarm: Sendable, Hashable, Codable {
  /// What it is, from a fixed list (docs/operations.md has a runbook for each): `parked`, `uplink`.
  package var kind: String
  /// What it is about, where there are several of a kind: the name of a source, a pipeline or an uplink; empty
  /// otherwise. With the kind it is the alarm's identity: what is raised again under the same is the same alarm.
  package var subject: String
  package var severity: AlarmSeverity
  /// For people: what is wrong, and the way out. Neither payload nor secret stands in it.
  package var text: String
  /// Wall nanoseconds since 1970: when it was raised.
  package var since: Int64

  package init(kind: String, subject: String, severity: AlarmSeverity, text: String, since: Int64) {
    self.kind = kind
    self.subject = subject
    self.severity = severity
    self.text = text
    self.since = since
  }
}
