import Foundation
import Testing

@testable import forebay

@Suite("figures of the kernel")
struct KernelFileTests {
  private func number(_ text: String, behind name: StaticString) -> Int64? {
    var text = text
    return text.withUTF8 { KernelFile.number($0, behind: name) }
  }

  @Test("a number is found behind a name that begins a line, and nowhere else")
  func names() {
    let io = "rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 12\n"
    #expect(number(io, behind: "write_bytes:") == 4096)
    #expect(number(io, behind: "cancelled_write_bytes:") == 12)
    #expect(number(io, behind: "bytes:") == nil && number(io, behind: "wchar:") == nil)
    #expect(number("write_bytes: ", behind: "write_bytes:") == nil)
    #expect(number("write_bytes: x1", behind: "write_bytes:") == nil)
    #expect(number("write_bytes: 9223372036854775807", behind: "write_bytes:") == .max)
    #expect(number("write_bytes: 9223372036854775808", behind: "write_bytes:") == nil)
    #expect(number("", behind: "write_bytes:") == nil && number("write", behind: "write_bytes:") == nil)
  }

  @Test("what this process wrote and has resident is what the kernel says")
  func process() throws {
    let statm = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
    let pages = try #require(Int64(statm[1]))
    let said = pages * Int64(sysconf(Int32(_SC_PAGESIZE)))
    #expect(ProcessMemory.resident() > said / 2 && ProcessMemory.resident() < said * 2)
    let io = try String(contentsOfFile: "/proc/self/io", encoding: .utf8)
    #expect((ProcessDisk.written() != nil) == io.contains("\nwrite_bytes: "))
    #expect(KernelFile.read("/nowhere") { Int($0.count) } == nil)
  }
}
