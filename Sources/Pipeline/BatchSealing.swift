internal import Compression
internal import Telemetry

extension [ClosedBatch] {
  /// Gives closed batches their identities, digests and compressed bodies.
  /// - Parameters:
  ///   - version: of the pipeline.
  ///   - state: goes on behind the last of them.
  func sealed(
    _ settings: PipelineSettings, version: String, into state: inout PipelineState
  ) throws(CompressionError) -> [Batch] {
    guard !isEmpty else { return [] }
    let compressor = try BodyCompressor(settings.batch.compression)
    var batches: [Batch] = []
    batches.reserveCapacity(count)
    for batch in self {
      let identity = BatchIdentity(
        gateway: state.gateway, pipeline: settings.name, epoch: state.epoch, sequence: state.nextSequence)
      let digest = Batch.digest(
        identity: identity, previous: state.previousDigest, count: batch.count, body: batch.body)
      let (text, encoding) = settings.batch.encoding.encode(batch.body)
      batches.append(
        Batch(
          identity: identity, version: version, log: batch.log, firstOffset: batch.first,
          lastOffset: batch.last, count: batch.count, encoding: encoding,
          compression: settings.batch.compression, body: try compressor.compress(text),
          length: batch.body.count, digest: digest, previous: state.previousDigest,
          possibleDuplicate: state.possibleDuplicateUntil.map { batch.reach < $0 } ?? false,
          replay: state.replay, windows: batch.windows, sealed: batch.sealed,
          ages: batch.receipts?.ages(at: batch.sealed)))
      state.nextSequence += 1
      state.previousDigest = digest
    }
    return batches
  }
}

extension BatchEncoding {
  /// Lines as they are to be sent. Lines of which one is no JSON value (it was requeued from dead letters that
  /// somebody else wrote) cannot be columns and stay what they are.
  fileprivate func encode(_ lines: [UInt8]) -> (text: [UInt8], encoding: BatchEncoding) {
    switch self {
    case .ndjson: (lines, .ndjson)
    case .columns: Columns.encode(lines).map { ($0, .columns) } ?? (lines, .ndjson)
    }
  }
}
