package import Telemetry

/// A stretch of the raw log that is run through a pipeline once more, beside what comes in: what was asked for,
/// how far it has got, and its book, which is none of the pipeline's own (promise 3).
///
/// Its batches are a chain of their own, under an epoch of their own. It runs under the configuration that the
/// pipeline ran under when it was made, however often the daemon starts anew in between.
package struct Replay: Sendable, Hashable, Identifiable {
  package enum State: String, Sendable, Hashable, CaseIterable {
    /// For the daemon, or for the replays before it: one runs at a time.
    case waiting
    case running
    /// By an operator, or because its budget is used up.
    case paused
    /// By an operator. What was sealed is delivered.
    case cancelled
    /// Everything is read and sealed. What is in the outbox is yet to be delivered.
    case finished
    /// It cannot go on; the reason says why. What was sealed is delivered.
    case failed

    /// Nothing follows.
    package var hasEnded: Bool { self == .cancelled || self == .finished || self == .failed }
  }

  /// What it was reckoned to become when it was made.
  package struct Estimate: Sendable, Hashable {
    package var readings: Int64
    package var batches: Int64
    /// Of bodies, as compressed.
    package var bytes: Int64

    package init(readings: Int64, batches: Int64, bytes: Int64) {
      self.readings = readings
      self.batches = batches
      self.bytes = bytes
    }
  }

  /// What an operator asks for.
  package struct Request: Sendable, Hashable {
    package var pipeline: String
    package var log: LogID
    /// Not empty.
    package var offsets: Range<Offset>
    /// Receipt by the wall clock, in nanoseconds: messages between the offsets that were received at another time
    /// are passed over. Nil: none are.
    package var times: Range<Int64>?
    /// Messages a second; 0: as many as there is time for.
    package var rate: Int64 = 0
    /// Bytes of bodies, as compressed, that it may seal; 0: as many as there are.
    package var budget: Int64 = 0
    package var estimate: Estimate?

    package init(pipeline: String, log: LogID, offsets: Range<Offset>, times: Range<Int64>? = nil) {
      self.pipeline = pipeline
      self.log = log
      self.offsets = offsets
      self.times = times
    }
  }

  package var id: ReplayID
  package var request: Request
  package var state: State
  /// Why it is paused or failed.
  package var reason: String?
  /// Bytes of bodies, as compressed, and batches that it has sealed.
  package var bytes: Int64
  package var batches: Int64
  /// Wall nanoseconds.
  package var created: Int64
  package var ended: Int64?
  /// The version of the pipeline that it runs; empty where only the salvaged rest of it is known.
  package var version: String
  package var uplink: String
  /// The next offset that it reads: as of its last seal.
  package var checkpoint: Offset
  package var ledger: Ledger

  package var pipeline: String { request.pipeline }
  /// The name that its rows stand under.
  package var book: String { id.book(of: request.pipeline) }
}

/// Why nothing came of what an operator asked for.
package enum ReplayRefusal: Error, Sendable, Hashable, CustomStringConvertible {
  case unknownPipeline(String, known: [String])
  /// The offsets are those of a log that the pipeline does not read.
  case otherLog(String)
  case tooMany(Int)
  case unknownReplay(String)
  case state(ReplayID, Replay.State, String)

  package var description: String {
    switch self {
    case .unknownPipeline(let name, let known):
      "there is no pipeline '\(name)' at work on this spool; "
        + (known.isEmpty ? "there is none: has the daemon run?" : "there is: \(known.joined(separator: ", "))")
    case .otherLog(let name):
      "pipeline \(name) has not begun to read the log that is here: start the daemon first"
    case .tooMany(let count): "\(count) replays have not ended: cancel some, or wait"
    case .unknownReplay(let id): "there is no replay '\(id)': forebay replay list shows them"
    case .state(let id, let state, let action): "replay \(id) is \(state.rawValue), so it cannot be \(action)"
    }
  }
}
