package import Telemetry

/// What an upstream's answer to one batch means (docs/delivery-protocol.md, section 5).
package enum Answer: Sendable, Hashable {
  /// It has the batch, and will have it after a power cut.
  case hasIt
  /// 409 without the batch's digest: another request for the same batch is still being worked on.
  case stillTakingIn
  /// 408, 425, 429, 5xx. `retryAfter` in nanoseconds, when the upstream said it.
  case notNow(status: Int, retryAfter: Int64?)
  /// There was no whole answer.
  case unreachable(Unreachable)
  /// 401, 403, and the secret on disk is the one that was used.
  case credentials(status: Int)
  /// 413.
  case tooLarge(reason: String)
  /// 400, 415, 422: refused for good. `reason` is the upstream's, for people.
  case refused(status: Int, reason: String)
  /// The identity exists there with another body, `held` being its digest when the upstream said it.
  case identityConflict(held: Digest?)
  /// Whatever else: a redirect, a captive portal, a wrong path. `what` is for people.
  case unknownUpstream(String)

  /// The kinds of answers, for counting.
  package enum Kind: String, Sendable, Hashable, CaseIterable {
    case hasIt = "has-it"
    case stillTakingIn = "still-taking-in"
    case notNow = "not-now"
    case unreachable
    case credentials
    case tooLarge = "too-large"
    case refused
    case identityConflict = "identity-conflict"
    case unknownUpstream = "unknown-upstream"
  }

  package var kind: Kind {
    switch self {
    case .hasIt: .hasIt
    case .stillTakingIn: .stillTakingIn
    case .notNow: .notNow
    case .unreachable: .unreachable
    case .credentials: .credentials
    case .tooLarge: .tooLarge
    case .refused: .refused
    case .identityConflict: .identityConflict
    case .unknownUpstream: .unknownUpstream
    }
  }
}

/// Why there was no whole answer.
package struct Unreachable: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: String, Sendable, Hashable, CaseIterable {
    case timedOut = "timed-out"
    /// The connection could not be made: refused, no route, no such name.
    case notConnected = "not-connected"
    /// The connection ended before the answer did.
    case closed
    /// The TLS handshake failed: a certificate that is wrong, expired, missing.
    case tls
    /// What came back is not HTTP.
    case garbage
    /// The attempt could not even begin: a secret or certificate that cannot be read.
    case configuration
    /// A file uplink: no space, or over quota.
    case diskFull = "disk-full"
    /// A file uplink: any other error of the file system.
    case disk
    /// The attempt was given up because the daemon stops.
    case cancelled

    /// Whether the cause lies on this machine, so that a person has to mend it.
    package var isLocal: Bool {
      switch self {
      case .configuration, .diskFull, .disk: true
      case .timedOut, .notConnected, .closed, .tls, .garbage, .cancelled: false
      }
    }
  }

  package var kind: Kind
  /// The operation, the place, the cause, and where there is one a hint; for people. No secrets.
  package var detail: String

  package init(_ kind: Kind, _ detail: String) {
    self.kind = kind
    self.detail = detail
  }

  package var description: String { detail }
}

extension Answer: CustomStringConvertible {
  /// For people.
  package var description: String {
    switch self {
    case .hasIt: "has it"
    case .stillTakingIn: "409: the batch is still being taken in"
    case .notNow(let status, _): "\(status): not now"
    case .unreachable(let cause): cause.detail
    case .credentials(let status): "\(status): the upstream does not accept the credentials"
    case .tooLarge(let reason): reason.isEmpty ? "413: too large" : "413: \(reason)"
    case .refused(let status, let reason): reason.isEmpty ? "\(status): refused" : "\(status): \(reason)"
    case .identityConflict(let held):
      "the upstream holds another batch under this identity"
        + (held.map { ", with the digest \($0)" } ?? "")
    case .unknownUpstream(let what): what
    }
  }
}
