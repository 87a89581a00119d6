import Telemetry

/// What can be done with a store without a running receiver, or beside one.
struct StoreReading: Sendable {
  var layout: BatchStoreLayout

  /// Checks every record and every chain.
  func verify() throws(BatchStoreError) -> StoreReport {
    var report = StoreReport(path: layout.records)
    var verifier = ChainVerifier()
    let reader = try BatchStoreReader(path: layout.records)
    while let item = try reader.next() {
      switch item {
      case .record(let record, _): verifier.add(record)
      case .damage(let range, _): report.damaged.append(range)
      case .tail(let range): report.tail = range
      }
    }
    report.chains = verifier.finish()
    return report
  }

  /// One stretch of lines of a batch, and the record that holds it.
  private struct Stretch {
    var chain: ChainKey
    var sequence: Int64
    var lines: Range<Int>
    var record: Int64
  }

  /// Gives every reading that the store holds, in the order of the chains, as it was delivered.
  ///
  /// - Parameter output: gets the batch's identity and its lines, each with its line feed.
  func export(_ output: (BatchIdentity, ArraySlice<UInt8>) -> Void) throws(BatchStoreError) {
    var stretches: [Stretch] = []
    let index = try BatchStoreReader(path: layout.records)
    while let item = try index.next() {
      guard case .record(let record, let place) = item, case .taken(let ranges) = record.outcome
      else { continue }
      for lines in ranges {
        stretches.append(
          Stretch(
            chain: record.label.chain, sequence: record.label.identity.sequence, lines: lines,
            record: place))
      }
    }
    stretches.sort { a, b in
      if a.chain != b.chain { return a.chain < b.chain }
      return (a.sequence, a.lines.lowerBound) < (b.sequence, b.lines.lowerBound)
    }
    for stretch in stretches {
      let record = try index.record(at: stretch.record)
      do {
        let body = try BatchBody(record.body, label: record.label)
        output(record.label.identity.whole, body.lines(stretch.lines, held: record.label.lines))
      } catch {
        throw BatchStoreError(
          operation: "read", path: layout.records,
          cause: "\(record.label.identity) at offset \(stretch.record): \(error.reason)",
          hint: "run `forebay receive --verify` on this store")
      }
    }
  }
}
