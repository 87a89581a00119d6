internal import ArgumentParser
internal import Glibc
internal import Telemetry

/// `forebay status --watch`: looks again and again, and shows what has changed since the last look.
struct StatusWatch {
  /// Seconds between two looks.
  let interval: Double
  let json: Bool
  let fetch: () throws -> [UInt8]

  private struct Look {
    var report: StatusReport
    var judgement: StatusJudgement
    /// Monotonic nanoseconds.
    var time: Int64
  }

  /// Until Ctrl-C, which ends the process with 0.
  /// - Throws: what the first look fails with; a later one is told on the screen, and tried again.
  func run() throws -> Never {
    var last: Look?
    var isDrawn = false
    while true {
      let next = SystemClock.monotonic() + Int64(interval * 1e9)
      var trouble: String?
      var now = last
      do {
        let document = try fetch()
        let report = try StatusReport(document: document)
        if json {
          StandardStream.output.write(line: String(decoding: document, as: UTF8.self))
        } else {
          now = Look(
            report: report, judgement: StatusJudgement(document: document, report: report),
            time: SystemClock.monotonic())
        }
      } catch {
        guard last != nil || isDrawn else { throw error }
        trouble = "\(error)"
      }
      if json {
        if let trouble { Output.complain("forebay status: \(trouble)") }
        pause(until: next) {}
      } else if let look = now {
        let earlier = last.map {
          StatusScreen.Earlier(report: $0.report, seconds: max(0.001, Double(look.time - $0.time) / 1e9))
        }
        let draw = {
          let terminal = Terminal.standardOutput()
          if !isDrawn, terminal.isCapable { Terminal.takeScreen() }
          show(look, since: trouble == nil ? earlier : nil, trouble: trouble, on: terminal, isFirst: !isDrawn)
        }
        draw()
        isDrawn = true
        pause(until: next, onInterruption: draw)
      }
      isDrawn = true
      last = now
    }
  }

  private func show(
    _ look: Look, since earlier: StatusScreen.Earlier?, trouble: String?, on terminal: Terminal, isFirst: Bool
  ) {
    let screen = StatusScreen(
      report: look.report, judgement: look.judgement, earlier: earlier, showsRates: true,
      now: SystemClock.wall(), width: terminal.size?.columns)
    let title = ScreenLine("\(Output.time(SystemClock.wall()))  every \(Output.decimal(interval, places: 1)) s")
    let lines = Self.lines(title: title, trouble: trouble, screen.lines, width: terminal.size?.columns)
    guard terminal.isCapable else {
      StandardStream.output.write(
        line: (isFirst ? "" : "\n") + lines.map { $0.rendered(colour: false) }.joined(separator: "\n"))
      return
    }
    StandardStream.output.write(
      Terminal.frame(
        Self.fit(lines, height: terminal.size?.lines).map {
          $0.rendered(colour: terminal.hasColour, width: terminal.size?.columns)
        }))
  }

  static func lines(title: ScreenLine, trouble: String?, _ screen: [ScreenLine], width: Int?) -> [ScreenLine] {
    // The state stays the first word: the time of the look comes last.
    guard let trouble else { return screen + [title] }
    let label = "NO ANSWER"
    let text = "\(label): \(Output.plain(trouble, limit: 1_000)); what follows is the last look"
    return ScreenText.wrap(text, width: width).enumerated().map {
      ScreenLine($0.element, .bad, toned: $0.offset == 0 ? label.count : 0)
    } + [ScreenLine("")] + screen + [title]
  }

  /// What a screen of so many lines has room for; the last line says when there is more.
  static func fit(_ lines: [ScreenLine], height: Int?) -> [ScreenLine] {
    guard let height, height > 1, lines.count > height else { return lines }
    let hidden = lines.count - (height - 1)
    return lines.prefix(height - 1) + [ScreenLine("\(hidden) more lines: a higher window shows them")]
  }

  /// - Parameter onInterruption: called when a signal (SIGWINCH) has ended the pause early, before it goes on.
  private func pause(until end: Int64, onInterruption: () -> Void) {
    while true {
      let rest = end - SystemClock.monotonic()
      guard rest > 0 else { return }
      var time = timespec(tv_sec: Int(rest / 1_000_000_000), tv_nsec: Int(rest % 1_000_000_000))
      if nanosleep(&time, nil) != 0, errno == EINTR { onInterruption() }
    }
  }
}
