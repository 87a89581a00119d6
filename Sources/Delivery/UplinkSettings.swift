/// One upstream and how to deliver to it. All paths are absolute.
package struct UplinkSettings: Sendable, Hashable {
  /// What counts as "has it" (docs/delivery-protocol.md).
  package enum ReceiptRule: String, Sendable, Hashable, CaseIterable {
    /// A 2xx that echoes identity and digest: captive portals answer 200 too.
    case strict
    /// Any 2xx: for receivers that are not ours.
    case status
  }

  package struct HTTP: Sendable, Hashable {
    package var url: String
    /// A bearer token, read anew when the upstream refuses the credentials.
    package var tokenFile: String?
    package var receipt: ReceiptRule = .strict
    /// PEM file of the authorities that may vouch for the upstream; nil: the system's.
    package var caFile: String?
    package var certificateFile: String?
    package var keyFile: String?
    /// `http://host:port` of a CONNECT proxy.
    package var proxy: String?
    /// Nanoseconds for one attempt, from connecting to the last byte of the answer.
    package var timeout: Int64 = 30_000_000_000

    package init(url: String) { self.url = url }
  }

  package struct File: Sendable, Hashable {
    package var directory: String
    /// Bytes at which a file is finished.
    package var maximumBytes: Int = 64 << 20
    /// Nanoseconds from a file's first batch to its finish.
    package var maximumAge: Int64 = 3_600_000_000_000

    package init(directory: String) { self.directory = directory }
  }

  package enum Kind: Sendable, Hashable {
    case http(HTTP)
    case file(File)
  }

  package struct Retry: Sendable, Hashable {
    /// Nanoseconds: the first delay's upper bound, doubled with every failure up to `maximum`; the
    /// delay is drawn evenly from zero to the bound ("full jitter").
    package var initial: Int64 = 1_000_000_000
    package var maximum: Int64 = 300_000_000_000
    /// Nanoseconds between attempts while the upstream refuses the credentials or is not the one we know.
    package var hold: Int64 = 60_000_000_000

    package init() {}
  }

  package struct Breaker: Sendable, Hashable {
    /// Failures in a row that open the circuit.
    package var failures: Int = 5
    package init() {}
  }

  package var name: String
  package var kind: Kind
  package var retry = Retry()
  package var breaker = Breaker()
  /// Batches on the way at once, 1...64.
  package var concurrency: Int = 4
  /// The refused single reading, with nothing accepted from its pipeline in between, at which the
  /// pipeline is held instead of setting the reading aside; at least 2, so that one fewer readings than
  /// this are set aside in a row (docs/delivery-protocol.md, "Refusals in a row").
  package var refusalsBeforeHold: Int = 5

  /// What its link costs; nil where that is not known, or nothing.
  package var price: LinkPrice?

  package init(name: String, kind: Kind) {
    self.name = name
    self.kind = kind
  }

  /// Batches that may be on the way at once: ``concurrency``, and for files one, because they share a
  /// disk that is synced for each.
  package var batchesAtOnce: Int {
    switch kind {
    case .http: min(max(1, concurrency), 64)
    case .file: 1
    }
  }
}

/// What an uplink's link costs, by the bytes that are sent.
package struct LinkPrice: Sendable, Hashable, CustomStringConvertible {
  /// Of a megabyte, 1,000,000 bytes, as operators sell them.
  package var perMegabyte: Double
  /// As the configuration writes it: `EUR`.
  package var currency: String

  /// `0.12 EUR/MB`, `90 EUR/GB`: an amount from 0, one to eight letters or signs, and per kB, MB, GB or TB.
  /// Nil for anything else.
  package init?(_ text: String) {
    let parts = text.split(separator: " ", omittingEmptySubsequences: true)
    let unit = parts.last?.split(separator: "/", omittingEmptySubsequences: false) ?? []
    guard parts.count == 2, unit.count == 2, let amount = Double(parts[0]), amount >= 0, amount.isFinite,
      parts[0].utf8.allSatisfy({ $0 &- 0x30 <= 9 || $0 == UInt8(ascii: ".") }), (1...8).contains(unit[0].count),
      let megabytes = ["kB": 0.001, "MB": 1, "GB": 1_000, "TB": 1_000_000][String(unit[1])]
    else { return nil }
    perMegabyte = amount / megabytes
    currency = String(unit[0])
  }

  /// Of so many bytes.
  package func cost(of bytes: Int64) -> Double { Double(bytes) / 1_000_000 * perMegabyte }

  package var description: String { "\(perMegabyte) \(currency)/MB" }
}
