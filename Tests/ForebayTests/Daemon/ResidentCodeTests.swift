import Testing

@testable import forebay

@Suite("The program's own code in memory")
struct ResidentCodeTests {
  @Test("goes and comes back when it is needed")
  func release() {
    let before = ProcessMemory.resident()
    let released = ResidentCode.release()
    #expect(released > 1 << 20)
    #expect(ProcessMemory.resident() < before)
    #expect("still \(released) bytes".hasPrefix("still "))
  }
}
