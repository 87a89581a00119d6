/// What a fuzzer found wrong: the process ends, and libFuzzer keeps the input.
func require(_ condition: Bool, _ message: @autoclosure () -> String, line: Int = #line) {
  if !condition { fatalError("line \(line): \(message())") }
}

/// The input up to its first line feed, and what follows it.
func fields(_ bytes: UnsafeRawBufferPointer, count: Int) -> [String] {
  bytes.split(separator: UInt8(ascii: "\n"), maxSplits: count - 1, omittingEmptySubsequences: false)
    .map { String(decoding: $0, as: UTF8.self) }
}
