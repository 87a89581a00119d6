/// The formats that can be checked (JSON Schema validation, section 7.3). Others only describe.
package enum SchemaFormat: UInt8, Sendable, Hashable, CaseIterable {
  case dateTime, date, time, ipv4, ipv6, uuid, jsonPointer, relativeJSONPointer, regex

  /// By the name that `format` has for it; nil for one that is not checked.
  init?(named name: String) {
    guard let format = SchemaFormat.allCases.first(where: { $0.keyword == name }) else { return nil }
    self = format
  }

  private var keyword: String {
    switch self {
    case .dateTime: "date-time"
    case .date: "date"
    case .time: "time"
    case .ipv4: "ipv4"
    case .ipv6: "ipv6"
    case .uuid: "uuid"
    case .jsonPointer: "json-pointer"
    case .relativeJSONPointer: "relative-json-pointer"
    case .regex: "regex"
    }
  }

  /// With its article, for sentences.
  var name: String {
    switch self {
    case .dateTime: "a date and time as RFC 3339 writes them"
    case .date: "a date as RFC 3339 writes it"
    case .time: "a time as RFC 3339 writes it"
    case .ipv4: "an IPv4 address"
    case .ipv6: "an IPv6 address"
    case .uuid: "a UUID"
    case .jsonPointer: "a JSON Pointer"
    case .relativeJSONPointer: "a relative JSON Pointer"
    case .regex: "a regular expression"
    }
  }

  func matches(_ text: UnsafeRawBufferPointer) -> Bool {
    switch self {
    case .dateTime: SchemaFormat.isDateTime(text)
    case .date: text.count == 10 && SchemaFormat.isDateTime(Array(text) + Array("T00:00:00Z".utf8))
    case .time: SchemaFormat.isTime(text)
    case .ipv4: SchemaFormat.isIPv4(text[...])
    case .ipv6: SchemaFormat.isIPv6(text)
    case .uuid: SchemaFormat.isUUID(text)
    case .jsonPointer: SchemaFormat.isPointer(text[...])
    case .relativeJSONPointer: SchemaFormat.isRelativePointer(text)
    case .regex: (try? SchemaPattern(Array(text), isSearched: false)) != nil
    }
  }

  private static func isDateTime(_ text: UnsafeRawBufferPointer) -> Bool {
    do throws(RFC3339.Failure) {
      _ = try RFC3339.nanoseconds(text)
      return true
    } catch { return error == .range }
  }

  private static func isDateTime(_ text: [UInt8]) -> Bool { text.withUnsafeBytes { isDateTime($0) } }

  /// On a day from which offsets lead into no other year that the calendar does not know.
  private static func isTime(_ text: UnsafeRawBufferPointer) -> Bool {
    isDateTime(Array("2016-12-31T".utf8) + Array(text))
  }

  private static func isIPv4(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
    let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    return parts.count == 4
      && parts.allSatisfy { part in
        (1...3).contains(part.count) && part.allSatisfy { $0 &- 0x30 <= 9 }
          && (part.count == 1 || part.first != 0x30)
          && part.reduce(0) { $0 * 10 + Int($1 &- 0x30) } <= 255
      }
  }

  /// RFC 4291, section 2.2.
  private static func isIPv6(_ text: UnsafeRawBufferPointer) -> Bool {
    let colon = UInt8(ascii: ":")
    var parts = text.split(separator: colon, omittingEmptySubsequences: false)
    guard (3...9).contains(parts.count) else { return false }
    // Two colons at an end make two empty parts there, one of which is the end's.
    if parts[0].isEmpty {
      guard parts[1].isEmpty else { return false }
      parts.removeFirst()
    }
    if parts[parts.count - 1].isEmpty {
      guard parts[parts.count - 2].isEmpty else { return false }
      parts.removeLast()
    }
    var count = 0
    var gaps = 0
    for (number, part) in parts.enumerated() {
      if part.isEmpty {
        gaps += 1
      } else if number == parts.count - 1, part.contains(UInt8(ascii: ".")) {
        guard isIPv4(part) else { return false }
        count += 2
      } else {
        guard part.count <= 4, part.allSatisfy({ JSONText.hexadecimal($0) != nil }) else { return false }
        count += 1
      }
    }
    return gaps == 0 ? count == 8 : gaps == 1 && count < 8
  }

  private static func isUUID(_ text: UnsafeRawBufferPointer) -> Bool {
    text.count == 36
      && text.enumerated().allSatisfy { position, byte in
        [8, 13, 18, 23].contains(position)
          ? byte == UInt8(ascii: "-") : JSONText.hexadecimal(byte) != nil
      }
  }

  private static func isPointer(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
    guard let first = text.first else { return true }
    guard first == UInt8(ascii: "/") else { return false }
    var index = text.startIndex
    while index < text.endIndex {
      if text[index] == UInt8(ascii: "~") {
        index += 1
        guard index < text.endIndex, text[index] == 0x30 || text[index] == 0x31 else { return false }
      }
      index += 1
    }
    return true
  }

  private static func isRelativePointer(_ text: UnsafeRawBufferPointer) -> Bool {
    let digits = text.prefix { $0 &- 0x30 <= 9 }
    guard let first = digits.first, first != 0x30 || digits.count == 1 else { return false }
    let rest = text[digits.endIndex...]
    return rest.elementsEqual("#".utf8) || isPointer(rest)
  }
}
