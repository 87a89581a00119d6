internal import Delivery
internal import Ingest
internal import Pipeline
internal import Spool
internal import Telemetry

/// Reads a tree into a ``Configuration``: one method per section, in the order of the documentation.
/// What spans sections is checked in ConfigurationChecks.swift, when all of them have been read.
struct ConfigurationDecoder {
  static let second: Int64 = 1_000_000_000
  static let day: Int64 = 86_400 * second

  let origin: Configuration.Origin
  let files: ConfigurationFiles
  let diagnostics: DiagnosticCollector
  let attachments: AttachmentCollector
  let tables = TableCollector()

  /// Something read, with the value that it was read from, for the checks that come later.
  struct Placed<Settings> {
    var settings: Settings
    var value: ConfigurationValue
  }

  /// Nil after errors. Until the end what is wrong has its default, so that the remaining checks can be
  /// made.
  func decode(_ root: YAMLNode) -> Configuration? {
    let value = ConfigurationValue(
      node: root, keyPlace: root.start, path: "",
      context: .init(
        diagnostics: diagnostics, folder: origin.folder, files: files, attachments: attachments))
    guard let top = value.section() else { return nil }
    let gateway = top.required("gateway").flatMap(gateway)
    let sourceValues = top.required("sources").map { $0.named() } ?? []
    let sources = sourceValues.compactMap { source($0.value, name: $0.name) }
    var (spool, group) = spool(top.optional("spool"))
    let pipelineValues = top.required("pipelines").map { $0.named() } ?? []
    let uplinkValues = top.required("uplinks").map { $0.named() } ?? []
    let contracts = top.optional("contracts")?.location()
    let bounds = deadLetterBounds(top.optional("dead_letters"), spool: spool, pipelines: pipelineValues.count)
    let limits = limits(top.optional("limits"))
    let pipelines = pipelineValues.compactMap {
      pipeline(
        $0.value, name: $0.name, sources: sourceValues.map(\.name), uplinks: uplinkValues.map(\.name),
        contracts: contractFolder(contracts), deadLetters: bounds, limits: limits)
    }
    let uplinks = uplinkValues.compactMap { uplink($0.value, name: $0.name) }
    let status = status(top.optional("status"), spool: spool, in: value)
    let objectives = objectives(top.optional("objectives"))
    let (alarms, notifications) = alarms(top.optional("alarms"), sources: sourceValues.map(\.name))
    let (logLevel, logFormat) = top.optional("log").map(log) ?? (.info, .auto)
    let shutdown = top.optional("shutdown").map(shutdown) ?? Configuration.Shutdown()
    let telemetry = telemetry(top.optional("telemetry"))
    top.close()

    checkFilterCount(pipelines)
    checkOverlaps(pipelines, sources: sources.map(\.settings))
    // As many messages as all sessions together may have on the way can be in doubt after a crash.
    spool.inDoubt = sources.reduce(0) { $0 + Int64($1.settings.receiveMaximum) }
    check(group, sources: sources, in: value)
    check(uplinks: uplinks, spool: spool)
    check(spool, in: value)
    checkDeadLetters(of: pipelines, spool: spool, in: value)
    check(status, spool: spool, in: value)
    warnOfUnused(sources: sources, pipelines: pipelines, uplinks: uplinks)
    guard let gateway, !diagnostics.hasErrors else { return nil }
    return Configuration(
      origin: origin, attached: [:], gateway: gateway,
      sources: withFilters(sources.map(\.settings), of: pipelines.map(\.settings)),
      group: group, spool: spool, pipelines: pipelines.map(\.settings), tables: tables.sources, deadLetters: bounds,
      uplinks: uplinks.map(\.settings), status: status, objectives: objectives, alarms: alarms,
      notifications: notifications, minimumLogLevel: logLevel, logFormat: logFormat, shutdown: shutdown,
      telemetry: telemetry,
      warnings: [])
  }

  // MARK: gateway, log, shutdown

  private func gateway(_ value: ConfigurationValue) -> Configuration.Gateway? {
    guard let section = value.section() else { return nil }
    let id = section.required("id").flatMap { $0.name() }
    let site = section.optional("site").flatMap { $0.name() }
    section.close()
    return id.map { Configuration.Gateway(id: $0, site: site) }
  }

  private func log(_ value: ConfigurationValue) -> (Configuration.LogLevel, Configuration.LogFormatChoice) {
    guard let section = value.section() else { return (.info, .auto) }
    let level = section.optional("level").flatMap { $0.choice(Configuration.LogLevel.self) }
    let format = section.optional("format").flatMap { $0.choice(Configuration.LogFormatChoice.self) }
    section.close()
    return (level ?? .info, format ?? .auto)
  }

  private func shutdown(_ value: ConfigurationValue) -> Configuration.Shutdown {
    var shutdown = Configuration.Shutdown()
    guard let section = value.section() else { return shutdown }
    section.set(&shutdown.grace, from: "grace") {
      $0.duration(in: ConfigurationDecoder.second...600 * ConfigurationDecoder.second)
    }
    section.close()
    return shutdown
  }

  // MARK: spool

  private func spool(_ value: ConfigurationValue?) -> (SpoolSettings, GroupSettings) {
    var spool = SpoolSettings(directory: Configuration.defaultSpoolDirectory)
    var group = GroupSettings()
    guard let section = value?.section() else { return (spool, group) }
    section.set(&spool.directory, from: "directory") { $0.location() }
    section.set(&spool.maximumBytes, from: "max") { $0.byteSize(in: (64 << 20)...(1 << 50)) }
    section.set(&spool.minimumFree, from: "min_free") { $0.byteSize(in: 0...(1 << 50)) }
    section.set(&spool.keepAge, from: "keep") { $0.duration(in: 0...3650 * ConfigurationDecoder.day) }
    let keepBytes = section.optional("keep_bytes")
    // A small spool would otherwise be filled by what is kept only for looking back.
    spool.keepBytes = min(spool.keepBytes, spool.maximumBytes / 4)
    if let bytes = keepBytes?.byteSize(in: 0...(1 << 50)) {
      spool.keepBytes = bytes
      if bytes > spool.maximumBytes / 2 {
        keepBytes?.error(
          "\(Quantity.describe(bytes: bytes)) is more than half of the \(Quantity.describe(bytes: spool.maximumBytes)) that the spool may have",
          hint: "what is kept after delivery would leave no room for what is to be delivered")
      }
    }
    section.set(&group.linger, from: "linger") {
      $0.duration(in: 1_000_000...60 * ConfigurationDecoder.second)
    }
    if let groupSection = section.optional("group")?.section() {
      groupSection.set(&group.maximumCount, from: "max_count") { $0.integer(in: 1...65_536) }
      groupSection.set(&group.maximumBytes, from: "max_bytes") {
        $0.byteSize(in: 1024...(64 << 20)).map { Int($0) }
      }
      groupSection.close()
    }
    section.close()
    return (spool, group)
  }

  // MARK: pipelines

  enum WhenFull: String, CaseIterable {
    /// The broker keeps what there is no room for.
    case block
  }

  private enum CompressionWord: String, CaseIterable {
    case none
    case gzip
    case zstd

    var value: BatchCompression {
      switch self {
      case .none: .none
      case .gzip: .gzip
      case .zstd: .zstd
      }
    }
  }

  private func pipeline(
    _ value: ConfigurationValue, name: String, sources: [String], uplinks: [String], contracts: ContractFolder,
    deadLetters: DeadLetterBounds, limits: MessageLimits
  ) -> Placed<PipelineSettings>? {
    guard let section = value.section() else { return nil }
    let from = section.required("from")
    let filters = from?.items().compactMap { $0.topicFilter() } ?? []
    var pipeline = PipelineSettings(name: name, from: filters, to: "")
    section.set(&pipeline.sources, from: "sources") { value in
      Set(value.items().compactMap { $0.reference(to: "a source", among: sources) })
    }
    section.set(&pipeline.format, from: "decode") { $0.payloadFormat() }
    pipeline.limits = self.limits(section.optional("limits"), from: limits)
    section.set(&pipeline.each, from: "each") { $0.fieldPath() }
    let key = section.optional("key")
    pipeline.key = key?.fieldPath()?.description
    if let key, let name = pipeline.key { check(key: name, key, filters: filters) }
    section.set(&pipeline.time, from: "time", eventTime)
    section.set(&pipeline.contract, from: "contract") { $0.contract(in: contracts) }
    section.set(&pipeline.drift, from: "drift") { $0.drift() }
    section.set(&pipeline.dedupe, from: "dedupe", dedupe)
    section.set(&pipeline.sequence, from: "sequence", sequence)
    pipeline.enrich = section.optional("enrich").map { enrichment($0, of: pipeline) } ?? []
    let condition = section.optional("where")
    let select = section.optional("select")
    pipeline.condition = condition?.text(expected: "an SQL expression over fields, for example temperature > 20")
    pipeline.select = select?.items().compactMap { $0.text(expected: "a field, or an expression AS a name") } ?? []
    check(expressions: pipeline, where: condition, select: select)
    let mask = section.optional("mask")
    pipeline.mask = self.mask(mask, keys: section.optional("token_keys"))
    check(mask: mask, of: pipeline)
    pipeline.window = section.optional("window").flatMap {
      window($0, time: pipeline.time, captures: pipeline.captureNames)
    }
    section.set(&pipeline.batch, from: "batch", batching)
    section.set(&pipeline.devices, from: "devices") { $0.devices() }
    pipeline.deadLetters = section.optional("dead_letters").map { bounds($0, from: deadLetters) } ?? deadLetters
    _ = section.optional("when_full")?.choice(WhenFull.self)
    let to = section.required("to")?.reference(to: "an uplink", among: uplinks)
    pipeline.to = to ?? pipeline.to
    section.close()
    check(pipeline, value)
    return Placed(settings: pipeline, value: value)
  }

  private func dedupe(_ value: ConfigurationValue) -> PipelineSettings.Dedupe? {
    guard let section = value.section() else { return nil }
    defer { section.close() }
    let within = section.required("within")?.duration(in: PipelineSettings.Dedupe.times)
    var dedupe = PipelineSettings.Dedupe(within: within ?? 0)
    section.set(&dedupe.by, from: "by") { $0.items().compactMap { $0.fieldPath() } }
    section.set(&dedupe.limit, from: "max_readings") { $0.integer(in: PipelineSettings.Dedupe.limits) }
    return within == nil ? nil : dedupe
  }

  private func batching(_ value: ConfigurationValue) -> PipelineSettings.Batching? {
    guard let section = value.section() else { return nil }
    var batch = PipelineSettings.Batching()
    section.set(&batch.maximumBytes, from: "max_bytes") {
      $0.byteSize(in: 1024...(64 << 20)).map { Int($0) }
    }
    section.set(&batch.maximumCount, from: "max_count") { $0.integer(in: 1...1_000_000) }
    section.set(&batch.maximumAge, from: "max_age") {
      $0.duration(in: 1_000_000...ConfigurationDecoder.day)
    }
    section.set(&batch.encoding, from: "encoding") { $0.choice(BatchEncoding.self) }
    section.set(&batch.compression, from: "compression") { $0.choice(CompressionWord.self)?.value }
    section.close()
    return batch
  }
}
