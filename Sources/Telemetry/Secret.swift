/// A password, a token or a key. Whatever prints it, on purpose or by accident, prints ``redacted``: a description,
/// an interpolation, `dump`, a debugger, a log. It is no `Encodable`, so that no document can hold it.
///
/// Its bytes are to be had by ``revealed`` and ``bearer`` alone, which are written where they go out to the one that they are for.
package struct Secret: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  package static let redacted = "[redacted]"

  private let bytes: [UInt8]

  package init(_ bytes: [UInt8]) { self.bytes = bytes }
  package init(_ text: String) { bytes = Array(text.utf8) }

  /// The secret itself.
  package var revealed: [UInt8] { bytes }
  /// As the value of `Authorization` (RFC 6750, section 2.1).
  package var bearer: String { "Bearer \(String(decoding: bytes, as: UTF8.self))" }
  package var count: Int { bytes.count }
  package var isEmpty: Bool { bytes.isEmpty }

  package var description: String { Secret.redacted }
  package var debugDescription: String { Secret.redacted }
  package var customMirror: Mirror { Mirror(self, children: [], displayStyle: .struct) }

  /// Takes as long wherever two of one length differ.
  package static func == (left: Secret, right: Secret) -> Bool { areSameSecrets(left.bytes, right.bytes) }

  package func hash(into hasher: inout Hasher) { hasher.combine(bytes) }
}
