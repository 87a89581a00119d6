internal import Delivery
internal import Telemetry

extension Configuration {
  /// Where metrics and traces are sent, beside being there for whoever asks.
  struct OTLP: Sendable, Hashable {
    /// Seconds that one request may take: the next export comes anyway.
    static let timeout: Int64 = 10_000_000_000
    /// Nanoseconds between two exports.
    static let intervals: ClosedRange<Int64> = 5_000_000_000...86_400_000_000_000

    /// How to reach it; its URL is the base, to which `/v1/metrics` and `/v1/traces` are added.
    var http: UplinkSettings.HTTP
    var interval: Int64 = 60_000_000_000
  }

  struct TelemetryExport: Sendable, Hashable {
    /// Nil: nothing is sent.
    var otlp: OTLP?
  }
}

/// `telemetry`.
extension ConfigurationDecoder {
  func telemetry(_ value: ConfigurationValue?) -> Configuration.TelemetryExport {
    var export = Configuration.TelemetryExport()
    guard let section = value?.section() else { return export }
    export.otlp = section.optional("otlp").flatMap(otlp)
    section.close()
    return export
  }

  private func otlp(_ value: ConfigurationValue) -> Configuration.OTLP? {
    guard let section = value.section() else { return nil }
    let urlValue = section.required("url")
    let url = urlValue?.url(schemes: ["http", "https"], allowsPath: true)
    let isEncrypted = url?.scheme == "https"
    var base = url?.text ?? ""
    if base.contains(where: { "?#".contains($0) }) {
      urlValue?.error(
        "the URL has a query or a fragment, but /v1/metrics and /v1/traces are added to it",
        hint: "give the base URL alone, for example https://otel.example:4318")
    }
    while base.hasSuffix("/") { base.removeLast() }
    var otlp = Configuration.OTLP(http: UplinkSettings.HTTP(url: base))
    otlp.http.timeout = Configuration.OTLP.timeout
    let tokenValue = section.optional("token_file")
    otlp.http.tokenFile = tokenValue?.file(.token)
    if let tokenValue, let url, !isEncrypted, !url.isLoopback {
      urlValue?.warning(
        "the token of \(tokenValue.path) goes over the network in the clear", hint: "use https://")
    }
    let authorities = section.optional("ca_file")
    otlp.http.caFile = authorities?.file(.certificates)
    if url != nil, !isEncrypted {
      authorities?.error(
        at: authorities?.keyPlace, "has no effect: the URL is not encrypted", hint: "use https://")
    }
    section.set(&otlp.interval, from: "interval") { $0.duration(in: Configuration.OTLP.intervals) }
    section.close()
    return url == nil ? nil : otlp
  }
}
