import Telemetry

/// MQTT 5.0, section 4.7, written as a recursion over the levels.
private func matches(
  _ filter: ArraySlice<String.UTF8View.SubSequence>, _ topic: ArraySlice<String.UTF8View.SubSequence>
) -> Bool {
  guard let level = filter.first else { return topic.isEmpty }
  if level.elementsEqual("#".utf8) { return true }
  guard let part = topic.first else { return false }
  return (level.elementsEqual("+".utf8) || level.elementsEqual(part))
    && matches(filter.dropFirst(), topic.dropFirst())
}

private func matches(_ filter: String, _ topic: String) -> Bool {
  let slash = UInt8(ascii: "/")
  if topic.utf8.isEmpty { return false }
  if topic.utf8.first == UInt8(ascii: "$"), ["+", "#"].contains(filter.first) { return false }
  return matches(
    filter.utf8.split(separator: slash, omittingEmptySubsequences: false)[...],
    topic.utf8.split(separator: slash, omittingEmptySubsequences: false)[...])
}

/// Two filters and a topic, one a line.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTopicFilter(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let parts = fields(UnsafeRawBufferPointer(start: start, count: count), count: 3)
  let topic = parts.count > 2 ? parts[2] : parts[0]
  let filters = parts.prefix(2).compactMap { text -> TopicFilter? in
    do throws(TopicFilterError) { return try TopicFilter(parsing: text) } catch {
      require(!error.description.isEmpty, "an error says something")
      return nil
    }
  }
  for filter in filters {
    require((try? TopicFilter(parsing: filter.description)) == filter, "\(filter) does not read back")
    guard let plain = try? TopicFilter(parsing: filter.mqtt) else { fatalError("\(filter.mqtt)") }
    require(filter.matches(topic) == matches(filter.mqtt, topic), "\(filter) and \(topic)")
    require(plain.matches(topic) == filter.matches(topic), "captures change no match")
    require(plain.covers(filter) && filter.covers(plain), "captures change no coverage")
    if let captures = filter.captures(topic) {
      require(captures.map(\.name) == filter.captureNames, "each capture has its value")
    }
  }
  if filters.count == 2 {
    if filters[0].covers(filters[1]), filters[1].matches(topic) {
      require(filters[0].matches(topic), "\(filters[0]) does not cover \(filters[1]): \(topic)")
    }
    if filters.allSatisfy({ $0.matches(topic) }) {
      require(filters[0].overlaps(filters[1]), "\(filters) both match \(topic)")
    }
    require(filters[0].overlaps(filters[1]) == filters[1].overlaps(filters[0]), "overlap has no order")
    let covering = TopicFilter.covering(filters)
    require(
      covering.contains { matches($0, topic) } == filters.contains { $0.matches(topic) },
      "\(covering) covers \(filters)")
  }
  return 0
}
