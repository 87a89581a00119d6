import FoundationEssentials
import Telemetry

/// What came back over HTTP, and what it means (docs/delivery-protocol.md, section 5).
struct HTTPAnswer: Sendable {
  /// The most that is read of an answer's body.
  static let maximumBody = 64 << 10

  var status: Int
  var retryAfter: String?
  var date: String?
  /// Nil when it was longer than ``maximumBody``.
  var body: [UInt8]?

  /// The members that this side understands; all optional, because anything may come back.
  private struct Members: Decodable {
    var identity: String?
    var digest: String?
    var error: String?
    var reason: String?

    enum Key: String, CodingKey { case identity, digest, error, reason }

    /// A member of another type counts as absent.
    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: Key.self)
      identity = try? container.decode(String.self, forKey: .identity)
      digest = try? container.decode(String.self, forKey: .digest)
      error = try? container.decode(String.self, forKey: .error)
      reason = try? container.decode(String.self, forKey: .reason)
    }
  }

  /// - Parameter wall: nanoseconds since 1970, for a `Retry-After` that is a date.
  func meaning(for batch: Batch, rule: UplinkSettings.ReceiptRule, wall: Int64) -> Answer {
    let members = body.flatMap { try? JSONDecoder().decode(Members.self, from: Data($0)) }
    let isReceipt =
      members?.identity == batch.identity.description
      && members?.digest.flatMap(Digest.init(hex:)) == batch.digest
    switch status {
    case 200..<300:
      if rule == .status || isReceipt { return .hasIt }
      return .unknownUpstream(
        "\(status) without a receipt that echoes identity and digest: something between here and the "
          + "upstream may have answered (a captive portal?), or the upstream gives no receipts "
          + "(`receipt: status`)")
    case 409: return isReceipt ? .hasIt : .stillTakingIn
    case 408, 425, 429, 500..<600:
      let pause = retryAfter.flatMap { RetryAfter.nanoseconds($0, date: date, wall: wall) }
      return .notNow(status: status, retryAfter: pause)
    case 401, 403: return .credentials(status: status)
    case 413: return .tooLarge(reason: reason(members))
    case 422 where members?.error == "identity-conflict":
      return .identityConflict(held: members?.digest.flatMap(Digest.init(hex:)))
    case 400, 415, 422: return .refused(status: status, reason: reason(members))
    case 300..<400: return .unknownUpstream("\(status): redirects are not followed")
    default: return .unknownUpstream("\(status) is no answer of an upstream that takes batches")
    }
  }

  /// The upstream's words, cut to 200 characters on one line.
  private func reason(_ members: Members?) -> String {
    let words = members?.reason ?? members?.error ?? ""
    return String(
      String.UnicodeScalarView(
        words.unicodeScalars.prefix(200).map { scalar in
          scalar.properties.generalCategory == .control ? " " : scalar
        }))
  }
}
