import CPCRE2

/// What looking for a pattern in a text gave.
enum PatternOutcome: Sendable, Hashable {
  case found
  case missing
  /// The work that one text may cost was spent, so that it is not known.
  case exhausted
}

/// A regular expression of `pattern` or `patternProperties`, compiled once.
///
/// Sendable although it holds a pointer: the compiled code is written to only here and by the JIT compiler,
/// both in `init`; matching reads it (pcre2api, "Multithreading"). What matching writes to, the match data,
/// is made for each call.
final class SchemaPattern: @unchecked Sendable {
  /// Why a pattern cannot be used: PCRE2's words, and the bytes before the fault.
  struct Malformed: Error {
    var reason: String
    var position: Int
  }

  /// Longer patterns are refused: they come from contracts, which people write.
  static let maximumLength = 16_384
  /// Longer texts are not searched. No measured field is as long.
  static let maximumText = 1 << 20

  private let code: OpaquePointer
  /// Whether it can be found only at the text's beginning.
  private let isAnchored: Bool

  /// - Parameters:
  ///   - pattern: UTF-8.
  ///   - isSearched: whether texts will be searched, or only the pattern itself is of interest.
  init(_ pattern: [UInt8], isSearched: Bool = true) throws(Malformed) {
    guard pattern.count <= SchemaPattern.maximumLength else {
      throw Malformed(
        reason: "the pattern is longer than \(SchemaPattern.maximumLength) bytes", position: 0)
    }
    let translated = PatternDialect.translate(pattern)
    guard let context = pcre2_compile_context_create_8(nil) else {
      throw Malformed(reason: "there is no memory for the pattern", position: 0)
    }
    defer { pcre2_compile_context_free_8(context) }
    // ECMA-262 knows `\u{…}`, and a dot that stops at each kind of line end.
    pcre2_set_compile_extra_options_8(context, UInt32(PCRE2_EXTRA_ALT_BSUX))
    pcre2_set_newline_8(context, UInt32(PCRE2_NEWLINE_ANYCRLF))
    let options =
      UInt32(PCRE2_UTF) | UInt32(PCRE2_ALT_BSUX) | UInt32(PCRE2_DOLLAR_ENDONLY)
      | UInt32(PCRE2_MATCH_UNSET_BACKREF) | UInt32(PCRE2_ALLOW_EMPTY_CLASS)
      | UInt32(PCRE2_NEVER_BACKSLASH_C)
    var error: Int32 = 0
    var position = 0
    let code = translated.withUnsafeBufferPointer {
      pcre2_compile_8($0.baseAddress, $0.count, options, &error, &position, context)
    }
    guard let code else {
      throw Malformed(reason: SchemaPattern.message(error), position: min(position, pattern.count))
    }
    self.code = code
    // Without it (no JIT on this machine) the interpreter does the same, more slowly.
    if isSearched { _ = pcre2_jit_compile_8(code, UInt32(PCRE2_JIT_COMPLETE)) }
    var inEffect: UInt32 = 0
    pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_ALLOPTIONS), &inEffect)
    isAnchored = inEffect & UInt32(PCRE2_ANCHORED) != 0
  }

  deinit { pcre2_code_free_8(code) }

  private static func message(_ error: Int32) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { room in
      let length = pcre2_get_error_message_8(error, room.baseAddress, room.count)
      return length > 0 ? String(decoding: room[..<Int(length)], as: UTF8.self) : "error \(error)"
    }
  }

  /// - Parameter text: valid UTF-8.
  func find(in text: UnsafeRawBufferPointer) -> PatternOutcome {
    guard text.count <= SchemaPattern.maximumText,
      let data = pcre2_match_data_create_8(1, nil)
    else { return .exhausted }
    defer { pcre2_match_data_free_8(data) }
    let limits = PatternLimits.shared.context(length: isAnchored ? 0 : text.count)
    func match(_ options: UInt32) -> Int32 {
      let subject = text.baseAddress?.assumingMemoryBound(to: UInt8.self)
      return withUnsafePointer(to: 0) { (empty: UnsafePointer<UInt8>) in
        pcre2_match_8(code, subject ?? empty, text.count, 0, UInt32(PCRE2_NO_UTF_CHECK) | options, data, limits)
      }
    }
    var result = match(0)
    // The JIT's stack is small; the interpreter works on the heap, within its limit.
    if result == PCRE2_ERROR_JIT_STACKLIMIT { result = match(UInt32(PCRE2_NO_JIT)) }
    if result >= 0 { return .found }
    return result == PCRE2_ERROR_NOMATCH ? .missing : .exhausted
  }
}

/// Limits for one search, by length of the text.
///
/// PCRE2 begins to count anew at every place of the text where a match is tried, so that the steps at one
/// place must be fewer the longer the text is.
///
/// Sendable although it holds pointers: the contexts are written to only in `init`, and searching reads them.
private final class PatternLimits: @unchecked Sendable {
  static let shared = PatternLimits()

  /// Steps for one text, all places together. Some 0.1 s at worst.
  private static let steps: UInt32 = 1 << 24
  /// Texts shorter than 2^6 have the limit of the first context, which is what a pattern that is bound to
  /// the text's beginning may use whatever the length.
  private static let shortestPower = 6
  /// Kibibytes for one search by the interpreter.
  private static let heap: UInt32 = 4_096

  private let contexts: [OpaquePointer?]

  private init() {
    contexts = (PatternLimits.shortestPower...20).map { power in
      guard let context = pcre2_match_context_create_8(nil) else { return nil }
      pcre2_set_match_limit_8(context, PatternLimits.steps >> UInt32(power))
      pcre2_set_depth_limit_8(context, PatternLimits.steps >> UInt32(power))
      pcre2_set_heap_limit_8(context, PatternLimits.heap)
      return context
    }
  }

  func context(length: Int) -> OpaquePointer? {
    let power = Int.bitWidth - length.leadingZeroBitCount
    return contexts[min(max(0, power - PatternLimits.shortestPower), contexts.count - 1)]
  }
}
