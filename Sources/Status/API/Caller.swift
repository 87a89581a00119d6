/// What somebody may do, each role all that the one before it may.
package enum Role: String, Sendable, Hashable, CaseIterable, Comparable, Codable {
  /// Sees everything, and changes nothing.
  case viewer
  /// Runs dead letters again or discards them, replays, pauses uplinks.
  case `operator`
  /// Reloads the configuration, too.
  case admin

  private var rank: Int {
    switch self {
    case .viewer: 0
    case .operator: 1
    case .admin: 2
    }
  }

  package static func < (left: Role, right: Role) -> Bool { left.rank < right.rank }
}

/// Who asks: stands in the audit log beside what was done.
package struct Caller: Sendable, Hashable {
  /// Of the token or the certificate; `anonymous` where neither was shown.
  package var name: String
  package var role: Role

  package init(name: String, role: Role) {
    self.name = name
    self.role = role
  }
}
