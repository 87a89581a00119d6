import Telemetry
import Testing

@Suite("A secret")
struct SecretTests {
  private struct Holder {
    var name = "n"
    var secret = Secret("hunter2")
    var list = [Secret("hunter2")]
    var perhaps: Secret? = Secret("hunter2")
  }

  @Test("is printed by nothing that prints things")
  func redacted() {
    let secret = Secret("hunter2")
    var dumped = ""
    dump(Holder(), to: &dumped)
    let texts = [
      "\(secret)", "\(secret as Any)", String(describing: secret), String(reflecting: secret), "\(Holder())",
      String(reflecting: Holder()), "\([secret: secret])", "\(Optional(secret) as Any)", dumped,
      Mirror(reflecting: secret).children.map { "\($0.value)" }.joined(),
    ]
    // Neither as text nor as the numbers of its bytes.
    let numbers = Array("hunter2".utf8).map(String.init).joined(separator: ", ")
    for text in texts {
      #expect(!text.contains("hunter2") && !text.contains(numbers) && !text.contains("104"), "\(text)")
    }
    #expect("\(secret)" == "[redacted]" && dumped.contains("[redacted]"))
    #expect(Mirror(reflecting: secret).children.isEmpty)
    #expect(!(secret is any Encodable))
  }

  @Test("is to be had by those who ask for it, and equal to the same one only")
  func revealed() {
    #expect(Secret("ab").revealed == Array("ab".utf8) && Secret([1, 2]).count == 2 && Secret("").isEmpty)
    #expect(Secret("ab") == Secret("ab") && Secret("ab") != Secret("ac") && Secret("ab") != Secret("abc"))
    #expect(Set([Secret("a"), Secret("a"), Secret("b")]).count == 2)
  }

  @Test("is compared to the last byte")
  func compared() {
    let bytes: [UInt8] = [1, 2, 3]
    #expect(areSameSecrets(bytes, [1, 2, 3]) && areSameSecrets([], []))
    for other: [UInt8] in [[9, 2, 3], [1, 9, 3], [1, 2, 9], [1, 2], [1, 2, 3, 0], []] {
      #expect(!areSameSecrets(bytes, other) && Secret(bytes) != Secret(other))
    }
  }
}
