extension LogBlock {
  /// The messages of `offsets` that this block holds, as a block of its own.
  package func slice(_ offsets: Range<Offset>) -> LogBlock {
    let lower = max(0, min(group.count, Int(offsets.lowerBound - first)))
    let upper = max(lower, min(group.count, Int(offsets.upperBound - first)))
    return LogBlock(log: log, first: first + lower, group: group.slice(lower..<upper))
  }
}

extension MessageGroup {
  /// Some of the messages as a group of their own.
  func slice(_ indices: Range<Int>) -> MessageGroup {
    var part = MessageGroup(boot: boot)
    payloads.withUnsafeBytes { payloads in
      for index in indices {
        let entry = entries[index]
        part.append(
          origin: part.index(of: origins[entry.origin]),
          payload: UnsafeRawBufferPointer(rebasing: payloads[entry.payloadRange]), qos: entry.qos,
          retained: entry.retained, packetID: entry.packetID, properties: properties[index] ?? [],
          monotonic: entry.monotonic, wall: entry.wall, quality: entry.quality)
      }
    }
    return part
  }
}
