package import Telemetry

/// When the messages of batches were received: looked up once for each batch when a block has been processed, so
/// that a message costs nothing for it.
extension PipelineCore {
  /// The receipt of the oldest message whose readings wait for their seal; nil where none does.
  package var oldestUnsealed: Moment? {
    for batch in closed { if let first = batch.receipts?.first { return first } }
    return open?.receipts.first
  }

  /// Notes what a block that was just processed says of the batches that its messages went to.
  mutating func noteReceipts(of block: LogBlock) {
    let links = open == nil && closed.isEmpty ? [] : self.links(in: block)
    for index in closed.indices.reversed() {
      // Those before lie in earlier blocks.
      guard closed[index].last >= block.first else { break }
      let (first, last) = (closed[index].first, closed[index].last)
      closed[index].receipts?.note(block, first: first, last: last, links: links)
    }
    if let first = open?.first, let last = open?.last {
      open?.receipts.note(block, first: first, last: last, links: links)
    }
  }

  /// What the messages of this pipeline say of their traces, in the order of the log. Nearly always nothing.
  private func links(in block: LogBlock) -> [(offset: Offset, context: TraceContext)] {
    guard !block.group.properties.isEmpty else { return [] }
    var links: [(offset: Offset, context: TraceContext)] = []
    for (index, properties) in block.group.properties {
      guard let context = properties.traceContext,
        interested(in: block.group.origins[block.group.entries[index].origin])
      else { continue }
      links.append((block.first + index, context))
    }
    return links.sorted { $0.offset < $1.offset }
  }
}

extension BatchReceipts {
  /// - Parameters:
  ///   - first, last: the offsets of the batch's first and last message, of which the block may hold neither.
  ///   - links: those of the block.
  fileprivate mutating func note(
    _ block: LogBlock, first: Offset, last: Offset, links: [(offset: Offset, context: TraceContext)]
  ) {
    if self.first == nil, block.first <= first, first < block.end {
      self.first = block.group.moment(of: Int(first - block.first))
    }
    if block.first <= last, last < block.end { self.last = block.group.moment(of: Int(last - block.first)) }
    guard self.links.count < BatchReceipts.maximumLinks else { return }
    for link in links where first <= link.offset && link.offset <= last && !self.links.contains(link.context) {
      self.links.append(link.context)
      if self.links.count == BatchReceipts.maximumLinks { return }
    }
  }
}

extension [MessageProperty] {
  /// The trace that a device says its message is in (W3C Trace Context in an MQTT 5 user property); nil without one
  /// that is valid.
  var traceContext: TraceContext? {
    for property in self {
      if case .user(TraceContext.name, let value) = property { return TraceContext(value) }
    }
    return nil
  }
}
