internal import Glibc

/// Begins this process anew in place: the same program, arguments and environment under the same process
/// id, so that a service manager sees no end of it.
enum ProcessRestart {
  /// Does not return, unless it fails.
  /// - Returns: why.
  static func now() -> String {
    // What is ignored stays so in the new program: until it listens, being told to stop must stop it.
    for number in [SIGTERM, SIGINT] { signal(number, SIG_DFL) }
    var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    execv("/proc/self/exe", arguments)
    return String(cString: strerror(errno))
  }
}
