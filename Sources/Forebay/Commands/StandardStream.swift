import Glibc

/// Standard output and standard error, unbuffered: what is written has left the process, so that a
/// program which waits for a line gets it.
enum StandardStream: Int32, Sendable {
  case output = 1
  case error = 2

  func write(line: String) { write(Array((line + "\n").utf8)) }

  func write(_ bytes: some Collection<UInt8>) {
    let written: Void? = bytes.withContiguousStorageIfAvailable { buffer in
      var rest = UnsafeRawBufferPointer(buffer)
      while !rest.isEmpty {
        let n = Glibc.write(rawValue, rest.baseAddress, rest.count)
        if n < 0, errno == EINTR { continue }
        guard n > 0 else { return }
        rest = UnsafeRawBufferPointer(rebasing: rest[n...])
      }
    }
    if written == nil { write(Array(bytes)) }
  }

  var isTerminal: Bool { isatty(rawValue) == 1 }
}
