/// The names in a certificate (RFC 5280): the common names of its subject, and the DNS names, e-mail addresses and
/// URIs of its subject alternative name. Others are left out.
///
/// Who signed it is checked before by TLS; here it is only read, and what cannot be read has no names.
package enum CertificateNames {
  private static let commonName: [UInt8] = [0x55, 0x04, 0x03]
  private static let alternativeName: [UInt8] = [0x55, 0x1D, 0x11]
  private enum Tag {
    static let integer: UInt8 = 0x02
    static let octets: UInt8 = 0x04
    static let identifier: UInt8 = 0x06
    static let sequence: UInt8 = 0x30
    static let set: UInt8 = 0x31
    /// `[3]` of TBSCertificate.
    static let extensions: UInt8 = 0xA3
    /// `[0]`: the version.
    static let version: UInt8 = 0xA0
    /// rfc822Name `[1]`, dNSName `[2]`, URI `[6]`.
    static let names: Set<UInt8> = [0x81, 0x82, 0x86]
  }

  package static func read(der: [UInt8]) -> [String] {
    var outer = Elements(der[...])
    guard let certificate = outer.next(), certificate.tag == Tag.sequence else { return [] }
    var inner = Elements(certificate.content)
    guard let toBeSigned = inner.next(), toBeSigned.tag == Tag.sequence else { return [] }
    let fields = Array(Elements(toBeSigned.content))
    // version?, serial, signature, issuer, validity, subject, ...
    let first = fields.first?.tag == Tag.version ? 1 : 0
    guard fields.count > first + 4, fields[first].tag == Tag.integer else { return [] }
    var names = commonNames(in: fields[first + 4].content)
    for field in fields where field.tag == Tag.extensions { names += alternativeNames(in: field.content) }
    return names
  }

  private static func commonNames(in subject: ArraySlice<UInt8>) -> [String] {
    var names: [String] = []
    for set in Elements(subject) where set.tag == Tag.set {
      for attribute in Elements(set.content) where attribute.tag == Tag.sequence {
        let parts = Array(Elements(attribute.content))
        guard parts.count == 2, parts[0].tag == Tag.identifier, parts[0].content.elementsEqual(commonName) else {
          continue
        }
        if let name = String(validating: parts[1].content, as: UTF8.self) { names.append(name) }
      }
    }
    return names
  }

  private static func alternativeNames(in extensions: ArraySlice<UInt8>) -> [String] {
    var names: [String] = []
    for list in Elements(extensions) {
      for entry in Elements(list.content) {
        let parts = Array(Elements(entry.content))
        guard let identifier = parts.first, identifier.tag == Tag.identifier,
          identifier.content.elementsEqual(alternativeName), let value = parts.last, value.tag == Tag.octets
        else { continue }
        for sequence in Elements(value.content) {
          for name in Elements(sequence.content) where Tag.names.contains(name.tag) {
            if let text = String(validating: name.content, as: UTF8.self) { names.append(text) }
          }
        }
      }
    }
    return names
  }

  /// The elements of a DER value, one behind the other; ends at the first that is none.
  private struct Elements: Sequence, IteratorProtocol {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    mutating func next() -> (tag: UInt8, content: ArraySlice<UInt8>)? {
      guard let tag = rest.popFirst(), var length = rest.popFirst().map(Int.init) else { return end() }
      if length >= 0x80 {
        let count = length - 0x80
        guard (1...3).contains(count), rest.count >= count else { return end() }
        length = rest.prefix(count).reduce(0) { $0 << 8 | Int($1) }
        rest = rest.dropFirst(count)
      }
      guard rest.count >= length else { return end() }
      defer { rest = rest.dropFirst(length) }
      return (tag, rest.prefix(length))
    }

    private mutating func end() -> (tag: UInt8, content: ArraySlice<UInt8>)? {
      rest = []
      return nil
    }
  }
}
