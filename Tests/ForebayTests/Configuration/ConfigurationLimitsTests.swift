import Pipeline
import Testing

@testable import forebay

@Suite("Configuration: limits")
struct ConfigurationLimitsTests {
  private static func limits(_ top: String, pipeline: String = "") throws -> MessageLimits {
    var text = Sample.text
    if !pipeline.isEmpty { text = text.replacing("    to: central", with: "    \(pipeline)\n    to: central") }
    return try #require(try Sample.decode(text + top).pipelines.first).limits
  }

  @Test("what is left out is the default")
  func defaults() throws {
    #expect(try Self.limits("") == MessageLimits())
    let usual = MessageLimits()
    #expect(usual.topic == 512 && usual.levels == 32 && usual.key == 256)
    #expect(usual.properties == 64 && usual.propertyBytes == 8_192 && usual.payload == 268_435_455)
  }

  @Test("a pipeline takes from the file what it does not say itself")
  func ownLimits() throws {
    let own = try Self.limits(
      "limits: { payload: 64 KiB, topic: 128 B, levels: 8, key: 64 B }\n",
      pipeline: "limits: { levels: 6, properties: 0, property_bytes: 1 KiB }")
    #expect(own.payload == 65_536 && own.topic == 128 && own.levels == 6 && own.key == 64)
    #expect(own.properties == 0 && own.propertyBytes == 1_024)
  }

  @Test(
    "a limit out of its range is told with its place",
    arguments: [
      ("limits: { topic: 64 KiB }\n", "limits.topic"), ("limits: { levels: 0 }\n", "limits.levels"),
      ("limits: { key: 0 B }\n", "limits.key"), ("limits: { payload: 1 GiB }\n", "limits.payload"),
      ("limits: { properties: -1 }\n", "limits.properties"), ("limits: { depth: 3 }\n", "depth"),
    ])
  func faults(_ text: String, _ place: String) throws {
    let error = try #require(throws: ConfigurationErrors.self) { try Self.limits(text) }
    #expect("\(error)".contains(place), "\(error)")
  }
}
