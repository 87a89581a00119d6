internal import Delivery
internal import Ingest
internal import Pipeline
internal import Spool
internal import Telemetry

/// What can be seen only when several sections have been read.
extension ConfigurationDecoder {
  // MARK: From topics to pipelines

  /// `key` may be a capture or a field of the payload, which nobody knows yet: so only what is probably
  /// not meant is told.
  func check(key name: String, _ value: ConfigurationValue, filters: [TopicFilter]) {
    let captures = filters.map(\.captureNames)
    let all = Set(captures.joined())
    if all.contains(name) {
      if let index = captures.firstIndex(where: { !$0.contains(name) }) {
        value.warning(
          "\(quoted(name)) is a capture of some filters, but \(quoted(filters[index].description)) has none of this name; there it is a field of the payload"
        )
      }
    } else if let nearest = Suggestion.nearest(to: name, among: all.sorted()) {
      value.warning(
        "no filter has a capture \(quoted(name)), so it is a field of the payload",
        hint: "did you mean '\(nearest)'?")
    }
  }

  /// What is accepted can be run: tells what the settings' own check finds and nothing else has.
  func check(_ pipeline: PipelineSettings, _ value: ConfigurationValue) {
    guard !diagnostics.hasErrors else { return }
    do throws(PipelineSettingsError) { try pipeline.validate() } catch {
      value.error(at: value.keyPlace, "\(error.setting): \(error.reason)", hint: error.hint)
    }
  }

  /// Compiles the expressions, so that a fault in one is told with its place.
  func check(expressions pipeline: PipelineSettings, where condition: ConfigurationValue?, select: ConfigurationValue?)
  {
    do throws(ExpressionError) {
      _ = try Selection(
        where: pipeline.condition, select: pipeline.select, captures: pipeline.captureNames)
    } catch {
      let value: ConfigurationValue? =
        switch error.place {
        case .condition: condition
        case .selected(let index): select.map { $0.items() }.flatMap { $0.indices.contains(index) ? $0[index] : nil }
        case .emitted: nil
        }
      guard let value else { return }
      let place = error.position.map { value.node.place(ofCharacter: $0) } ?? value.node.start
      value.error(at: place, error.reason)
    }
  }

  func warnOfUnused(
    sources: [Placed<SourceSettings>], pipelines: [Placed<PipelineSettings>],
    uplinks: [Placed<UplinkSettings>]
  ) {
    // After an error, what seems unused may only be misspelt.
    guard !diagnostics.hasErrors else { return }
    for source in sources {
      let name = source.settings.name
      guard !pipelines.contains(where: { $0.settings.sources?.contains(name) ?? true }) else { continue }
      source.value.warning(
        at: source.value.keyPlace, "no pipeline reads from the source \(quoted(name))",
        hint: "nothing is taken from it")
    }
    for uplink in uplinks {
      let name = uplink.settings.name
      guard !pipelines.contains(where: { $0.settings.to == name }) else { continue }
      uplink.value.warning(
        at: uplink.value.keyPlace, "no pipeline delivers to the uplink \(quoted(name))")
    }
  }

  /// Filters of all pipelines together: each is compared with every other, and each one that is left is
  /// a subscription for the broker to look through at every message.
  static let mostFilters = 1024

  func checkFilterCount(_ pipelines: [Placed<PipelineSettings>]) {
    var count = 0
    for pipeline in pipelines {
      count += pipeline.settings.from.count
      guard count <= ConfigurationDecoder.mostFilters else {
        pipeline.value.nearest("from").error(
          "with these filters there are more than \(ConfigurationDecoder.mostFilters) in all",
          hint: "cover several with wildcards")
        return
      }
    }
  }

  /// Two subscriptions of one session that overlap, and of which neither covers the other, bring a message
  /// on a topic that both match twice (MQTT 5.0, section 3.3.4; mosquitto 2.0 does so), which would break
  /// promise 2. Overlapping filters of pipelines are fine as long as one filter covers both.
  func checkOverlaps(_ pipelines: [Placed<PipelineSettings>], sources: [SourceSettings]) {
    for source in sources {
      let readers = pipelines.filter { $0.settings.sources?.contains(source.name) ?? true }
      let subscribed = Set(TopicFilter.covering(readers.flatMap(\.settings.from)))
      var seen: [TopicFilter] = []
      for reader in readers {
        for filter in reader.settings.from
        where subscribed.contains(filter.mqtt) && !seen.contains(where: { $0.mqtt == filter.mqtt }) {
          if let other = seen.first(where: filter.overlaps) {
            reader.value.nearest("from").error(
              "the filters \(quoted(other.mqtt)) and \(quoted(filter.mqtt)) overlap, and neither covers the other: "
                + "the broker would deliver a message that both match twice",
              hint: "write filters that do not overlap, or give one pipeline a filter that covers both")
            return
          }
          seen.append(filter)
        }
      }
    }
  }

  /// One covering set of filters for all pipelines that read from a source.
  func withFilters(
    _ sources: [SourceSettings], of pipelines: [PipelineSettings]
  ) -> [SourceSettings] {
    sources.map { source in
      var source = source
      source.filters = TopicFilter.covering(
        pipelines.filter { $0.sources?.contains(source.name) ?? true }.flatMap(\.from))
      return source
    }
  }

  /// While a group is open nothing is written to the broker, no ping either.
  func check(
    _ group: GroupSettings, sources: [Placed<SourceSettings>], in root: ConfigurationValue
  ) {
    guard let shortest = sources.map(\.settings).min(by: { $0.keepalive < $1.keepalive }) else {
      return
    }
    let keepalive = Int64(shortest.keepalive) * ConfigurationDecoder.second
    if group.linger > keepalive / 2 {
      root.nearest("spool", "linger").error(
        "linger (\(Quantity.describe(duration: group.linger))) is more than half of the keepalive of the source \(quoted(shortest.name)) (\(Quantity.describe(duration: keepalive)))",
        hint: "the broker would take the session for dead")
    }
  }

  // MARK: Uplinks and disk

  func check(uplinks: [Placed<UplinkSettings>], spool: SpoolSettings) {
    let spoolPath = files.resolved(spool.directory)
    var directories: [(path: String, name: String)] = []
    for uplink in uplinks {
      guard case .file(let file) = uplink.settings.kind else { continue }
      let path = files.resolved(file.directory)
      let value = uplink.value.nearest("file", "directory")
      if PathText.isWithin(path, spoolPath) || PathText.isWithin(spoolPath, path) {
        value.error(
          "the directory \(file.directory) and the spool's, \(spool.directory), lie within each other",
          hint: "what is delivered must not count as, or be taken for, what is queued")
      }
      if let other = directories.first(where: {
        PathText.isWithin(path, $0.path) || PathText.isWithin($0.path, path)
      }) {
        value.error(
          "the directory \(file.directory) and that of the uplink \(quoted(other.name)) lie within each other")
      }
      directories.append((path, uplink.settings.name))
      checkFolder(file.directory, value)
    }
  }

  private func checkFolder(_ path: String, _ value: ConfigurationValue) {
    guard let obstacle = files.obstacle(path) else { return }
    value.error(obstacle.message(about: path), hint: obstacle.hint, concern: .surroundings)
  }

  /// The folder of the spool is checked with the spool.
  func check(_ status: Configuration.Status, spool: SpoolSettings, in root: ConfigurationValue) {
    let value = root.nearest("status", "socket")
    let path = status.socket
    let folder = PathText.folder(of: path)
    if [.directory, .other].contains(files.kind(path)) {
      value.error("\(path) is there and is no socket; it is not replaced", concern: .surroundings)
    } else if folder != spool.directory, let obstacle = files.obstacle(folder),
      files.kind(folder) != .missing || obstacle.isSomethingElse
    {
      value.error(
        "the socket \(path) cannot be made: \(obstacle.message(about: folder))", hint: obstacle.hint,
        concern: .surroundings)
    } else if folder != spool.directory, files.kind(folder) == .missing {
      // Perhaps the unit makes it, as systemd's RuntimeDirectory= does, so it may be there in time.
      value.warning(
        "the folder \(folder) of the socket does not exist, and forebay does not make it",
        hint: "make it, or add RuntimeDirectory= to the unit", concern: .surroundings)
    }
  }

  func check(_ settings: SpoolSettings, in root: ConfigurationValue) {
    checkFolder(settings.directory, root.nearest("spool", "directory"))
    guard let volume = files.volume(settings.directory) else { return }
    let total = Quantity.describe(roughly: volume.total)
    let minimumFree = Quantity.describe(bytes: settings.minimumFree)
    if settings.minimumFree >= volume.total {
      root.nearest("spool", "min_free").error(
        "min_free (\(minimumFree)) is more than the whole file system of \(settings.directory) has (\(total))",
        concern: .surroundings)
    } else if settings.minimumFree > volume.free {
      root.nearest("spool", "min_free").warning(
        "only \(Quantity.describe(roughly: volume.free)) are free in \(settings.directory), less than min_free (\(minimumFree)): nothing would be taken in",
        concern: .surroundings)
    }
    if settings.maximumBytes > volume.total - settings.minimumFree, settings.minimumFree < volume.total {
      root.nearest("spool", "max").warning(
        "max (\(Quantity.describe(bytes: settings.maximumBytes))) and min_free (\(minimumFree)) are together more than the file system has (\(total)); min_free decides",
        concern: .surroundings)
    }
  }
}

extension ConfigurationValue {
  /// A topic filter; errors point at the level at fault.
  func topicFilter() -> TopicFilter? {
    guard let text = text(expected: "a topic filter") else { return nil }
    do throws(TopicFilterError) {
      return try TopicFilter(parsing: text)
    } catch {
      let before = text.unicodeScalars.split(separator: "/", omittingEmptySubsequences: false)
        .prefix((error.level ?? 1) - 1)
      let offset = before.reduce(0) { $0 + $1.count + 1 }
      let level = error.level.map { ", level \($0)" } ?? ""
      self.error(
        at: node.place(ofCharacter: offset),
        "the topic filter \(quoted(text)) is not valid\(level): \(error.reason)", hint: error.hint)
      return nil
    }
  }

  /// The path of a field of the payload.
  func fieldPath() -> FieldPath? {
    guard let text = text(expected: "a field of the payload, for example object.temperature") else { return nil }
    do throws(FieldPath.Malformed) {
      return try FieldPath(parsing: text)
    } catch {
      let before = String(decoding: text.utf8.prefix(error.position), as: UTF8.self).unicodeScalars.count
      self.error(
        at: node.place(ofCharacter: before), "the path \(quoted(text)) is not valid: \(error.reason)",
        hint: #"for example object.temperature, rxInfo[0].rssi or ["a name.with dots"].x"#)
      return nil
    }
  }
}
