// Places at which a process can be told to die, for the kill tests (Tests/EndToEndTests/Kill), and the
// two ways in which those tests break the program to show that they would notice.
//
// All of it is there only in a build with the package trait `Failpoints` (`swift build --traits
// Failpoints`). Without the trait this module declares empty functions that are compiled into their
// callers, where nothing is left of them: no type, no symbol, no text. That is why they are functions
// of the module and not cases of a type, whose name would stand in the binary. `.ci/check-release`
// looks for all of them.

#if Failpoints

  import Glibc
  import Synchronization

  /// A place at which a process can be told to die.
  ///
  /// With `FOREBAY_FAILPOINT=name` in its environment the process kills itself (SIGKILL) when it gets
  /// there, with `FOREBAY_FAILPOINT=name:n` when it gets there for the n-th time.
  package enum Failpoint: String, Sendable, Hashable, CaseIterable {
    /// A message is staged: nothing of it is on the disk.
    case staged
    /// The rows of a group are written, within the transaction.
    case appended
    /// A group is committed and nothing of it acknowledged.
    case committed
    /// The acknowledgements of a group are handed to the kernel.
    case acknowledged
    /// A pipeline has read a block.
    case read
    /// Batches, checkpoint and ledger are written, within the transaction.
    case sealing
    /// They are committed.
    case sealed
    /// A request is about to be sent.
    case sending
    /// An answer has come and nothing is booked.
    case receiptReceived = "received-receipt"
    /// A delivered batch is out of the outbox.
    case confirmed
    /// The receiver has a whole batch and has recorded nothing of it.
    case batchReceived = "batch-received"
    /// The receiver's record is fsynced and nothing answered.
    case batchStored = "batch-stored"
    /// The receiver's answer is handed to the kernel.
    case answered

    /// Where this process is to die, and how often it passes before that.
    private static let chosen: (point: Failpoint, passes: Int)? = {
      guard let text = getenv("FOREBAY_FAILPOINT").map({ String(cString: $0) }), !text.isEmpty else { return nil }
      let parts = text.split(separator: ":", maxSplits: 1)
      let count = parts.count == 2 ? Int(parts[1]) : 1
      guard let point = Failpoint(rawValue: String(parts[0])), let count, count > 0 else {
        refuse("FOREBAY_FAILPOINT=\(text) is neither name nor name:n")
      }
      return (point, count - 1)
    }()

    private static let passed = Atomic<Int>(0)

    fileprivate func reach() {
      guard let chosen = Failpoint.chosen, chosen.point == self,
        Failpoint.passed.add(1, ordering: .relaxed).newValue > chosen.passes
      else { return }
      kill(getpid(), SIGKILL)
      // This thread must not do another thing before the kernel has ended it.
      while true { pause() }
    }
  }

  package func staged() { Failpoint.staged.reach() }
  package func appended() { Failpoint.appended.reach() }
  package func committed() { Failpoint.committed.reach() }
  package func acknowledged() { Failpoint.acknowledged.reach() }
  package func blockRead() { Failpoint.read.reach() }
  package func sealing() { Failpoint.sealing.reach() }
  package func sealed() { Failpoint.sealed.reach() }
  package func sending() { Failpoint.sending.reach() }
  package func receiptReceived() { Failpoint.receiptReceived.reach() }
  package func confirmed() { Failpoint.confirmed.reach() }
  package func batchReceived() { Failpoint.batchReceived.reach() }
  package func batchStored() { Failpoint.batchStored.reach() }
  package func answered() { Failpoint.answered.reach() }

  /// A mechanism taken out, to show that the tests notice: `FOREBAY_SABOTAGE=name`.
  package enum Sabotage: String, Sendable, Hashable, CaseIterable {
    /// A group is acknowledged first and committed afterwards: a crash in between loses it.
    case acknowledgeBeforeCommit = "acknowledge-before-commit"
    /// Nothing is recognised as sent again: a crash after a commit delivers its messages twice.
    case noInDoubt = "no-in-doubt"

    private static let chosen: Sabotage? = {
      guard let text = getenv("FOREBAY_SABOTAGE").map({ String(cString: $0) }), !text.isEmpty else { return nil }
      guard let sabotage = Sabotage(rawValue: text) else {
        refuse("FOREBAY_SABOTAGE=\(text) is unknown")
      }
      return sabotage
    }()

    package var isOn: Bool { Sabotage.chosen == self }
  }

  /// A test that asks for what is not there must not pass for one in which nothing happened.
  private func refuse(_ text: String) -> Never {
    let line = text + "\n"
    _ = line.utf8.withContiguousStorageIfAvailable { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    exit(64)
  }

#else

  @_alwaysEmitIntoClient package func staged() {}
  @_alwaysEmitIntoClient package func appended() {}
  @_alwaysEmitIntoClient package func committed() {}
  @_alwaysEmitIntoClient package func acknowledged() {}
  @_alwaysEmitIntoClient package func blockRead() {}
  @_alwaysEmitIntoClient package func sealing() {}
  @_alwaysEmitIntoClient package func sealed() {}
  @_alwaysEmitIntoClient package func sending() {}
  @_alwaysEmitIntoClient package func receiptReceived() {}
  @_alwaysEmitIntoClient package func confirmed() {}
  @_alwaysEmitIntoClient package func batchReceived() {}
  @_alwaysEmitIntoClient package func batchStored() {}
  @_alwaysEmitIntoClient package func answered() {}

#endif
