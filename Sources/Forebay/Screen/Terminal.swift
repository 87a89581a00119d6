internal import Glibc

/// What standard output is connected to.
struct Terminal {
  /// Columns and lines; nil where it is no terminal, or one that does not say.
  var size: (columns: Int, lines: Int)?
  /// Whether it understands the cursor sequences of ECMA-48.
  var isCapable: Bool
  var hasColour: Bool

  static func standardOutput() -> Terminal {
    let isTerminal = isatty(STDOUT_FILENO) == 1
    let isCapable = isTerminal && !["", "dumb"].contains(variable("TERM") ?? "")
    var window = winsize()
    let isKnown = isTerminal && ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &window) == 0 && window.ws_col > 0
    return Terminal(
      size: isKnown ? (Int(window.ws_col), Int(window.ws_row)) : nil, isCapable: isCapable,
      // https://no-color.org: present and not empty.
      hasColour: isCapable && variable("NO_COLOR") ?? "" == "")
  }

  private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  // DEC private modes 1049 (alternate screen) and 25 (cursor), as xterm and all that follow it have them.
  // Computed: a signal handler must not be the first to ask for a lazy constant.
  fileprivate static var enter: StaticString { "\u{1B}[?1049h\u{1B}[?25l\u{1B}[2J" }
  fileprivate static var leave: StaticString { "\u{1B}[?25h\u{1B}[?1049l" }

  fileprivate static func send(_ text: StaticString) {
    _ = write(STDOUT_FILENO, text.utf8Start, text.utf8CodeUnitCount)
  }

  /// Takes the alternate screen, and gives it back whatever signal ends or stops the process: Ctrl-C is the way out,
  /// and a success. The handlers call nothing but what signal-safety(7) allows.
  static func takeScreen() {
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number) { _ in
        Terminal.send(Terminal.leave)
        _exit(0)
      }
    }
    signal(SIGTSTP) { _ in
      let before = errno
      Terminal.send(Terminal.leave)
      kill(getpid(), SIGSTOP)
      Terminal.send(Terminal.enter)
      errno = before
    }
    // Ends the pause, so that the screen is drawn anew.
    signal(SIGWINCH) { _ in }
    send(enter)
  }

  /// A frame that takes the place of the one before without a blank in between.
  static func frame(_ lines: [String]) -> [UInt8] {
    // Each line clears what an older one has left behind it, and the end what is below.
    Array(("\u{1B}[H" + lines.joined(separator: "\u{1B}[K\r\n") + "\u{1B}[K\u{1B}[J").utf8)
  }
}
