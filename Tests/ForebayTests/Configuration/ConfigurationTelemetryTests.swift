import Delivery
import Testing

@testable import forebay

@Suite("Configuration: telemetry")
struct ConfigurationTelemetryTests {
  @Test("nothing is exported unless the file says so")
  func absent() throws {
    #expect(try Sample.decode(Sample.text).telemetry.otlp == nil)
    #expect(try Sample.decode(Sample.text + "telemetry: {}\n").telemetry.otlp == nil)
  }

  @Test("the base URL is taken without slashes at its end, the rest has defaults")
  func otlp() throws {
    let plain = try Sample.decode(Sample.text + "telemetry: { otlp: { url: 'https://otel.example:4318/base/' } }\n")
    let otlp = try #require(plain.telemetry.otlp)
    #expect(otlp.http.url == "https://otel.example:4318/base" && otlp.interval == 60_000_000_000)
    #expect(otlp.http.tokenFile == nil && otlp.http.caFile == nil && otlp.http.timeout == 10_000_000_000)
    let quick = try Sample.decode(Sample.text + "telemetry: { otlp: { url: 'http://127.0.0.1:1', interval: 5 s } }\n")
    #expect(quick.telemetry.otlp?.interval == 5_000_000_000)
  }

  @Test(
    "a fault is told with its place and a way out",
    arguments: [
      Case(
        "gateway: { id: gw-1 }", "gateway: { id: gw-1 }\ntelemetry: { otlp: {} }", "2:14 error telemetry.otlp",
        "url"),
      Case(
        "gateway: { id: gw-1 }",
        "gateway: { id: gw-1 }\ntelemetry: { otlp: { url: 'https://a.example', interval: 1 s } }",
        "2:58 error telemetry.otlp.interval", "5 s to 1 d"),
      Case(
        "gateway: { id: gw-1 }", "gateway: { id: gw-1 }\ntelemetry: { otpl: {} }", "2:14 error telemetry.otpl",
        "did you mean 'otlp'?"),
      Case(
        "gateway: { id: gw-1 }", "gateway: { id: gw-1 }\ntelemetry: { otlp: { url: 'https://a.example/?x=1' } }",
        "2:27 error telemetry.otlp.url", "query"),
    ])
  func faults(_ fault: Case) { fault.check() }
}
