internal import Telemetry

/// What is made of a reading's data, one reading at a time: enrichment, `where`, `select`, masks.
struct ReadingTransform: Sendable {
  /// Data that a step has written, and its tape where a later step reads it.
  private struct Document: Sendable {
    var bytes: [UInt8] = []
    var tape = JSONTape()
  }

  typealias View<Result> = (
    JSONTape, Int, UnsafeRawBufferPointer, Selection.Context
  ) throws(EvaluationError) -> Result

  private let enrich: [EnrichmentSettings]
  private var selection: Selection?
  private var mask: FieldMask?
  /// Windows look at what comes out.
  private let isLookedAt: Bool
  /// Whether readings leave as they came.
  let isIdentity: Bool

  private var document = Document()
  private var spare = Document()
  /// Whether the data of the reading at hand is in `document`, and no longer where it was decoded.
  private var isChanged = false

  init(settings: PipelineSettings) throws {
    enrich = settings.enrich
    if settings.condition != nil || !settings.select.isEmpty {
      selection = try Selection(
        where: settings.condition, select: settings.select, captures: settings.captureNames)
    }
    if let settings = settings.mask {
      mask = try FieldMask(rules: settings.rules, tokeniser: settings.tokeniser)
    }
    isLookedAt = settings.window != nil
    isIdentity = enrich.isEmpty && selection == nil && mask == nil
  }

  /// Works a reading through.
  /// - Parameter key: as it stands in JSON.
  /// - Returns: false for one that `where` does not want.
  mutating func apply(
    _ item: ReadingDecoder.Item, _ tape: JSONTape, _ text: UnsafeRawBufferPointer, key: [UInt8],
    from source: ReadingStages.Source
  ) throws(EvaluationError) -> Bool {
    isChanged = false
    if isIdentity { return true }
    // Taken out, so that each is the only one that uses its connection and its buffers.
    var selection = selection.take()
    var mask = mask.take()
    defer { (self.selection, self.mask) = (selection, mask) }
    for (number, table) in enrich.enumerated() {
      let isLast = number == enrich.count - 1 && selection == nil && mask == nil && !isLookedAt
      try rewrite(item, tape, text, key: key, from: source, isReadAgain: !isLast) {
        tape, index, bytes, _, output throws(EvaluationError) in
        if let path = table.by {
          _ = table.table.append(tape, index, in: bytes, keyAt: path, to: &output)
        } else {
          let plain = key.withUnsafeBytes { JSONText.unescape($0) }
          _ = plain.withUnsafeBytes { table.table.append(tape, index, in: bytes, key: $0, to: &output) }
        }
      }
    }
    if selection != nil {
      let passes = try look(item, tape, text, key: key, from: source) {
        tape, index, bytes, context throws(EvaluationError) in
        try selection?.passes(tape, index, in: bytes, context)
      }
      guard passes == true else { return false }
      if selection?.changesReadings == true {
        try rewrite(item, tape, text, key: key, from: source, isReadAgain: mask != nil || isLookedAt) {
          tape, index, bytes, context, output throws(EvaluationError) in
          try selection?.append(tape, index, in: bytes, context, to: &output)
        }
      }
    }
    if mask != nil {
      try rewrite(item, tape, text, key: key, from: source, isReadAgain: isLookedAt) {
        tape, index, bytes, _, output throws(EvaluationError) in
        mask?.append(tape, index, in: bytes, to: &output)
      }
    }
    return true
  }

  /// Adds the line of the reading that was worked through last.
  func append(
    _ item: ReadingDecoder.Item, _ text: UnsafeRawBufferPointer, route: Route, extra: [UInt8],
    to lines: inout LineBuffer
  ) {
    let reading = item.reading
    if isChanged {
      document.bytes.withUnsafeBytes { data in
        lines.append(reading, of: text, data: data, isCompact: true, route: route, extra: extra)
      }
    } else {
      lines.append(
        reading, of: text, data: UnsafeRawBufferPointer(rebasing: text[reading.data]), isCompact: reading.isCompact,
        route: route, extra: extra)
    }
  }

  /// Looks at the reading as far as it was worked through.
  mutating func look<Result>(
    _ item: ReadingDecoder.Item, _ tape: JSONTape, _ text: UnsafeRawBufferPointer, key: [UInt8],
    from source: ReadingStages.Source, _ body: View<Result>
  ) throws(EvaluationError) -> Result {
    func context(_ key: Selection.Context.Key) -> Selection.Context {
      Selection.Context(
        key: key, time: item.reading.time, received: source.received.wall, topic: source.origin.topic,
        captures: source.route.captures)
    }
    guard isChanged else {
      let key: Selection.Context.Key =
        switch item.reading.key {
        case .none: .none
        case .topic: .text(source.route.key)
        case .field(let range): .content(range)
        }
      return try body(tape, item.index, text, context(key))
    }
    let document = document
    // The key's bytes are not among those at hand any more.
    var changedKey = Selection.Context.Key.none
    if item.reading.key != .none { changedKey = .text(key.withUnsafeBytes { JSONText.unescape($0) }) }
    let result: Swift.Result<Result, EvaluationError> = document.bytes.withUnsafeBytes { bytes in
      do throws(EvaluationError) {
        return .success(try body(document.tape, 0, bytes, context(changedKey)))
      } catch { return .failure(error) }
    }
    return try result.get()
  }

  /// Puts what `body` writes in the reading's place.
  private mutating func rewrite(
    _ item: ReadingDecoder.Item, _ tape: JSONTape, _ text: UnsafeRawBufferPointer, key: [UInt8],
    from source: ReadingStages.Source, isReadAgain: Bool,
    _ body: (
      JSONTape, Int, UnsafeRawBufferPointer, Selection.Context, inout [UInt8]
    ) throws(EvaluationError) -> Void
  ) throws(EvaluationError) {
    var output = Document()
    swap(&output, &spare)
    output.bytes.removeAll(keepingCapacity: true)
    try look(item, tape, text, key: key, from: source) {
      tape, index, bytes, context throws(EvaluationError) in
      try body(tape, index, bytes, context, &output.bytes)
    }
    if isReadAgain {
      let isRead = output.bytes.withUnsafeBytes { bytes in
        do throws(JSONError) { try output.tape.read(bytes) } catch { return false }
        return true
      }
      // What a device nests as deep as it may, and an enrichment one deeper.
      guard isRead else { throw EvaluationError(kind: .tooLong, place: .selected(0)) }
    }
    swap(&document, &output)
    swap(&spare, &output)
    isChanged = true
  }
}
