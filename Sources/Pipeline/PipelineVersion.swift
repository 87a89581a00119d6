internal import Telemetry

/// The version of a pipeline: the first 16 hexadecimal digits of the SHA-256 of a canonical text of the
/// settings that shape its batches.
///
/// Everything that can change a byte of a batch, or where one batch ends and the next begins, is in it:
/// name, filters with their captures, sources, format, key, event time, and all of the batching, its age
/// included, for "same records, same version, same ticks: same batches" must hold to the letter. Where
/// the batches are sent (`to`) is not: it changes none of them.
package func pipelineVersion(_ settings: PipelineSettings) -> String {
  canonicalDigest(settings, ofReadingsOnly: false)
}

/// What the contents of open windows depend on: windows go on under another version with the same rules. How batches
/// are made is not in it, nor is what reference tables hold and which token keys are in use: a table that is
/// reloaded must not cut windows.
func windowRules(_ settings: PipelineSettings) -> String { canonicalDigest(settings, ofReadingsOnly: true) }

extension PipelineSettings {
  /// Whether windows that were opened under `old` go on under these settings.
  package func continuesWindows(of old: PipelineSettings) -> Bool {
    old.window == nil || windowRules(self) == windowRules(old)
  }
}

private func canonicalDigest(_ settings: PipelineSettings, ofReadingsOnly: Bool) -> String {
  // Texts stand with their length before them, so that no value can pass for another's end. The first
  // line is counted up when this code gives other bytes for the same settings.
  var text = "forebay-pipeline 1\n"
  func add(_ name: String, _ value: String) {
    text += "\(name) \(value.utf8.count):\(value)\n"
  }
  add("name", settings.name)
  for filter in settings.from { add("from", filter.description) }
  if let sources = settings.sources {
    add("sources", String(sources.count))
    for source in sources.sorted() { add("source", source) }
  }
  add("decode", settings.format.name.rawValue)
  for (name, value) in settings.format.canonicalSettings { add("decode-\(name)", value) }
  if let each = settings.each { add("each", each.description) }
  if let key = settings.key { add("key", key) }
  switch settings.time {
  case .receipt(let hold): add("time", hold == 0 ? "receipt" : "receipt hold \(hold)")
  case .field(let path, let unit):
    add("time-field", path.description)
    add("time-unit", unit.rawValue)
  }
  if let contract = settings.contract { add("contract", "\(contract.description) \(contract.digest.hex)") }
  if let dedupe = settings.dedupe {
    for field in dedupe.by { add("dedupe-by", field.description) }
    add("dedupe-within", String(dedupe.within))
    add("dedupe-limit", String(dedupe.limit))
  }
  if let sequence = settings.sequence { add("sequence", sequence.canonical) }
  if let drift = settings.drift { add("drift", drift.canonical) }
  for table in settings.enrich {
    add("enrich", (table.by?.description ?? "") + (ofReadingsOnly ? "" : " \(table.digest.hex)"))
  }
  if let condition = settings.condition { add("where", condition) }
  for entry in settings.select { add("select", entry) }
  if let mask = settings.mask {
    for rule in mask.rules { add("mask", "\(rule.fields) \(rule.method)") }
    for key in mask.fingerprint where !ofReadingsOnly { add("mask-key", key) }
  }
  if let window = settings.window { add("window", window.canonical) }
  if ofReadingsOnly { return String(Digest(of: Array(text.utf8)).hex.prefix(16)) }
  // Those that hold usually stand for nothing, so that what runs without any has the version that it had before there
  // were any.
  if let limits = settings.limits.canonical { add("limits", limits) }
  add("batch-bytes", String(settings.batch.maximumBytes))
  add("batch-count", String(settings.batch.maximumCount))
  add("batch-age", String(settings.batch.maximumAge))
  add("batch-encoding", settings.batch.encoding.rawValue)
  add("batch-compression", settings.batch.compression.rawValue)
  return String(Digest(of: Array(text.utf8)).hex.prefix(16))
}
