internal import Spool
internal import Telemetry

/// How people name a batch.
enum BatchName: Sendable, Hashable {
  /// `gateway/pipeline/epoch/sequence`, with `.part/parts` behind it or not.
  case identity(BatchIdentity)
  /// `pipeline/sequence`, of the present epoch.
  case present(pipeline: String, sequence: Int64)

  /// Nil for anything else.
  init?(_ text: String) {
    if let identity = BatchIdentity(text) {
      self = .identity(identity)
      return
    }
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, BatchIdentity.isName(parts[0]), let sequence = Int64(parts[1]), sequence > 0 else {
      return nil
    }
    self = .present(pipeline: String(parts[0]), sequence: sequence)
  }

  /// Nil where there is no such batch.
  func identity(in state: StateStore) throws(SpoolError) -> BatchIdentity? {
    switch self {
    case .identity(let identity): identity
    case .present(let pipeline, let sequence): try state.identity(pipeline: pipeline, sequence: sequence)
    }
  }
}
