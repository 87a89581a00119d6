import Glibc
import Status
import TestSupport
import Testing

@testable import forebay

@Suite("The daemon's log")
struct StandardLogTests {
  @Test("is journald's where JOURNAL_STREAM names this very standard error, and no other")
  func journal() {
    var status = stat()
    fstat(STDERR_FILENO, &status)
    #expect(OperatorLog.journalTakesStandardError(variable: "\(status.st_dev):\(status.st_ino)"))
    for other in ["\(status.st_dev):\(status.st_ino &+ 1)", "", "8:", nil] {
      #expect(!OperatorLog.journalTakesStandardError(variable: other))
    }
  }

  @Test(
    "has a level and a format, auto unless it is said",
    arguments: [
      ("{ format: json }", Configuration.LogFormatChoice.json), ("{ level: debug, format: logfmt }", .logfmt),
      ("{ level: debug }", .auto),
    ])
  func configuration(_ text: String, _ format: Configuration.LogFormatChoice) throws {
    let configuration = try Sample.decode(Sample.text + "\nlog: \(text)\n")
    #expect(configuration.logFormat == format)
    #expect(configuration.minimumLogLevel == (text.contains("debug") ? .debug : .info))
    #expect(throws: ConfigurationErrors.self) { try Sample.decode(Sample.text + "\nlog: { format: xml }\n") }
  }
}
