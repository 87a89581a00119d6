import ArgumentParser
import Glibc
import TestSupport
import Testing

@testable import forebay

@Suite("forebay token first")
struct TokenFirstTests {
  @Test("shows the installation's token once, and is told where there is none")
  func once() throws {
    let folder = try TemporaryDirectory("first")
    let file = try folder.write("s3cret\n", to: "first.token")
    let arguments = ["token", "first", "--file", folder.file("tokens")]
    var command = try Forebay.parseAsRoot(arguments)
    try command.run()
    #expect(access(file, F_OK) != 0, "it is gone")
    #expect(throws: ExitCode(1)) { try command.run() }
  }
}
