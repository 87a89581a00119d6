import Synchronization

/// What other threads ask of the intake thread.
enum Command: Sendable {
  case reload([SourceSettings])
  /// The attempt with this number has come to its end.
  case attempted(UInt64, Result<OpenedConnection, SourceFault>)
  /// To be done by the instant, as far as possible.
  case stop(deadline: Int64)
}

/// What a connector thread hands over.
struct OpenedConnection: Sendable {
  let connection: Connection
  /// What is stored of the session's filters.
  let known: [String: SubscriptionState]
}

/// The intake thread's letter box, with a descriptor that `poll` can wait for.
final class Inbox: Sendable {
  private struct Contents {
    var commands: [Command] = []
    var isClosed = false
  }

  /// Readable while there is a command; -1 when the system had none to give.
  var descriptor: Int32 { wake.reader }
  private let wake = Pipe()
  private let contents = Mutex(Contents())

  /// What comes after ``shut()`` is dropped, and a connection in it closed.
  func post(_ command: Command) {
    let taken = contents.withLock { contents in
      if !contents.isClosed { contents.commands.append(command) }
      return !contents.isClosed
    }
    if taken { wake.signal() }
  }

  func take() -> [Command] {
    wake.clear()
    return contents.withLock { contents in
      defer { contents.commands = [] }
      return contents.commands
    }
  }

  func shut() {
    contents.withLock { contents in
      contents.isClosed = true
      contents.commands = []
    }
  }
}
