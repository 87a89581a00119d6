internal import Pipeline

/// A contract that is learned from readings: the schema that they have in common, for people to go on from.
struct ContractDraft {
  private var inference: SchemaInference
  /// Texts or messages that were no readings, by reason.
  private(set) var refused: [String: Int] = [:]

  /// Reasons that are told apart; the rest counts as one.
  private static let maximumReasons = 100

  /// Learns from a file, which nothing is known about.
  init() { inference = SchemaInference() }

  /// Learns from a pipeline's readings. Nothing of what it masks may get into a contract, which is kept and handed on.
  /// Masks name fields as `select` leaves them: behind one it is not known which field of the reading is meant, and no
  /// values are told at all.
  init(readingsOf settings: PipelineSettings) {
    let rules = settings.mask?.rules ?? []
    inference = SchemaInference(
      hiding: rules.map(\.fields), quotesValues: rules.isEmpty || settings.select.isEmpty)
  }

  var readings: Int { inference.readings }
  var refusals: Int { refused.values.reduce(0, +) }
  /// The reason that is met most often.
  var commonestRefusal: String? {
    refused.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
  }

  mutating func add(_ tape: JSONTape, at index: Int, in bytes: UnsafeRawBufferPointer) {
    inference.add(tape, at: index, in: bytes)
  }

  mutating func refuse(_ reason: String) {
    let isKnown = refused[reason] != nil || refused.count < ContractDraft.maximumReasons
    refused[isKnown ? reason : "other reasons", default: 0] += 1
  }

  /// Learns from a text: a JSON object, an array of objects, or one object in each line.
  /// - Parameter limit: readings at most.
  mutating func add(text: [UInt8], limit: Int) {
    var tape = JSONTape()
    text.withUnsafeBytes { bytes in
      // A text of many lines is no JSON from its second line on, which is found out at once.
      if (try? tape.read(bytes)) != nil {
        add(tape, rootedIn: bytes, limit: limit)
        return
      }
      for line in bytes.split(separator: UInt8(ascii: "\n")) where readings < limit {
        let line = UnsafeRawBufferPointer(rebasing: line)
        if line.allSatisfy({ $0 <= 0x20 }) { continue }
        do throws(JSONError) {
          try tape.read(line)
          add(tape, rootedIn: line, limit: limit)
        } catch {
          refuse("\(error)")
        }
      }
    }
  }

  private mutating func add(_ tape: JSONTape, rootedIn bytes: UnsafeRawBufferPointer, limit: Int) {
    func isReading(_ index: Int) -> Bool { tape.values[index].kind == .object }
    guard tape.root.kind == .array else {
      if isReading(0) { add(tape, at: 0, in: bytes) } else { refuse("it is \(tape.root.kind.phrase), not an object") }
      return
    }
    var child = 1
    while child < tape.root.next, readings < limit {
      if isReading(child) {
        add(tape, at: child, in: bytes)
      } else {
        refuse("an element is \(tape.values[child].kind.phrase), not an object")
      }
      child = tape.values[child].next
    }
  }

  /// The contract's file. The same readings in the same order give the same bytes.
  func file(_ id: ContractID) -> String {
    // The schema's own line feeds all stand between its members.
    let schema = String(decoding: inference.schema(), as: UTF8.self).split(separator: "\n").joined(separator: "\n  ")
    return """
      {
        "name": "\(id.name)",
        "version": "\(id.version)",
        "compatibility": "backward",
        "schema": \(schema),
        "expectations": []
      }

      """
  }
}
