extension GatewayStatus {
  /// How much of the lists is written.
  private struct Cut {
    var alarms: Int
    /// Bytes of an alarm's text.
    var text: Int
    var objectives: Int
    var sources: Int
    var pipelines: Int
    var uplinks: Int
  }

  /// The first that fits is taken; the last one fits whatever the names are: 64 bytes at most, or 6 for each where
  /// all of them must be escaped.
  private static let cuts = [
    Cut(alarms: 10, text: 200, objectives: 16, sources: 8, pipelines: 16, uplinks: 8),
    Cut(alarms: 10, text: 120, objectives: 8, sources: 4, pipelines: 8, uplinks: 4),
    Cut(alarms: 5, text: 100, objectives: 8, sources: 2, pipelines: 4, uplinks: 2),
    Cut(alarms: 2, text: 60, objectives: 4, sources: 1, pipelines: 1, uplinks: 1),
    Cut(alarms: 0, text: 0, objectives: 0, sources: 0, pipelines: 0, uplinks: 0),
  ]

  /// Bytes of the headline: four names of 64 bytes, and the words between them.
  private static let longestHeadline = 400

  /// The document, below ``maximumBytes``: lists are cut from their ends, texts are shortened.
  package var json: [UInt8] {
    for cut in GatewayStatus.cuts {
      var writer = JSONWriter(capacity: 4096)
      write(&writer, cut)
      if writer.bytes.count < GatewayStatus.maximumBytes { return writer.bytes }
    }
    // Names that no configuration can have.
    return Array(#"{"version":1,"error":"the names in it are too long"}"#.utf8)
  }

  private func write(_ writer: inout JSONWriter, _ cut: Cut) {
    writer.object { status in
      status.value("version", Int64(version))
      status.value("gateway", gateway)
      status.optional("site", site)
      status.value("software", software)
      status.value("time", time)
      status.value("state", state.rawValue)
      status.optional("headline", headline?.shortened(to: GatewayStatus.longestHeadline))
      status.value("uptimeSeconds", uptimeSeconds)
      status.value("clockSynchronised", clockSynchronised)
      status.object("alarms") { alarms.write(&$0, cut.alarms, text: cut.text) }
      status.array("objectives") { list in
        for objective in objectives.prefix(cut.objectives) { objective.write(&list) }
      }
      status.optional("freshnessSeconds", freshnessSeconds)
      writeTotals(&status)
      status.listing("sources", sources, cut.sources) { source, entry in
        entry.value("name", source.name)
        entry.value("state", source.state)
        entry.value("messages", source.messages)
        entry.optional("lastMessageSeconds", source.lastMessageSeconds)
      }
      status.listing("pipelines", pipelines, cut.pipelines) { pipeline, entry in
        entry.value("name", pipeline.name)
        entry.value("backlog", pipeline.backlog)
        entry.value("outboxReadings", pipeline.outboxReadings)
        entry.optional("oldestSeconds", pipeline.oldestSeconds)
        entry.value("delivered", pipeline.delivered)
        entry.value("deadLetters", pipeline.deadLetters)
        entry.optional("freshnessSeconds", pipeline.freshnessSeconds)
      }
      status.listing("uplinks", uplinks, cut.uplinks) { uplink, entry in
        entry.value("name", uplink.name)
        entry.value("state", uplink.state)
        entry.optional("failingSeconds", uplink.failingSeconds)
        entry.value("delivered", uplink.delivered)
      }
    }
  }

  private func writeTotals(_ status: inout JSONWriter) {
    status.object("messages") {
      $0.value("received", messages.received)
      $0.optional("perSecond", messages.perSecond)
    }
    status.object("readings") {
      $0.value("delivered", readings.delivered)
      $0.value("duplicate", readings.duplicate)
      $0.value("refused", readings.refused)
      $0.value("late", readings.late)
    }
    status.object("backlog") {
      $0.value("messages", backlog.messages)
      $0.optional("seconds", backlog.seconds)
    }
    status.object("outbox") {
      $0.value("batches", outbox.batches)
      $0.value("readings", outbox.readings)
      $0.optional("bytes", outbox.bytes)
      $0.optional("oldestSeconds", outbox.oldestSeconds)
    }
    status.object("deadLetters") {
      $0.value("count", deadLetters.count)
      $0.value("bytes", deadLetters.bytes)
      $0.value("expired", deadLetters.expired)
    }
    status.object("disk") {
      $0.value("usedBytes", disk.usedBytes)
      $0.value("maximumBytes", disk.maximumBytes)
      $0.value("freeBytes", disk.freeBytes)
      $0.value("minimumFreeBytes", disk.minimumFreeBytes)
      $0.value("parked", disk.parked)
      $0.optional("writtenBytes", disk.writtenBytes)
    }
    status.object("cost") {
      $0.value("payloadBytes", cost.payloadBytes)
      $0.optional("writtenBytes", cost.writtenBytes)
      $0.value("sentBytes", cost.sentBytes)
    }
    status.object("process") {
      $0.value("residentBytes", process.residentBytes)
      $0.optional("cpuSeconds", process.cpuSeconds)
    }
  }
}

extension GatewayStatus.Alarms {
  fileprivate func write(_ alarms: inout JSONWriter, _ count: Int, text limit: Int) {
    alarms.value("page", page)
    alarms.value("ticket", ticket)
    alarms.array("list") { entries in
      for alarm in list.prefix(count) {
        entries.object { entry in
          entry.value("kind", alarm.kind)
          entry.value("subject", alarm.subject)
          entry.value("severity", alarm.severity.rawValue)
          entry.value("text", alarm.text.shortened(to: limit))
          entry.optional("since", alarm.since)
          entry.optional("runbook", alarm.runbook)
        }
      }
    }
  }
}

extension GatewayStatus.Objective {
  fileprivate func write(_ list: inout JSONWriter) {
    list.object { entry in
      entry.value("name", name)
      entry.value("state", state)
      entry.value("target", target)
      entry.optional("measured", measured)
      entry.optional("budgetRemaining", budgetRemaining)
      entry.optional("burnRate1h", burnRate1h)
      entry.optional("burnRate6h", burnRate6h)
    }
  }
}

extension JSONWriter {
  fileprivate mutating func listing<Element>(
    _ key: String, _ listing: GatewayStatus.Listing<Element>, _ count: Int,
    _ body: (Element, inout JSONWriter) -> Void
  ) {
    object(key) {
      $0.value("total", listing.total)
      $0.array("list") { list in
        for element in listing.list.prefix(count) { list.object { body(element, &$0) } }
      }
    }
  }
}
