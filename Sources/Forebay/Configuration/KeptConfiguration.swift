internal import Telemetry

/// A configuration as it is kept, in `configuration.yaml` and in `state.db`: the file's bytes, a line for each
/// attachment, and a last line that names the file, the number of its bytes and the SHA-256 of all that is before
/// it. It stays a YAML file with the same line numbers, because these lines are comments:
///
/// ```
/// # forebay-attached: sha256=… path=/etc/forebay/contracts/climate@1.2.0.json
/// # forebay-kept: bytes=1234 sha256=… path=/etc/forebay/forebay.yaml
/// ```
extension Configuration.Origin {
  private static let attachedMark = "# forebay-attached: "
  private static let keptMark = "# forebay-kept: "

  /// Bytes of a kept configuration at most: the file's, and lines with paths of 4096 bytes for more attachments
  /// than anybody has.
  static let keptLimit = YAMLParser.Limits().bytes + (1 << 20)

  /// Paths with line breaks cannot be kept.
  var isKeepable: Bool { !([path] + attachments.map(\.path)).contains { $0.utf8.contains(UInt8(ascii: "\n")) } }

  var kept: [UInt8] {
    var file = bytes
    for attachment in attachments {
      file += "\n\(Self.attachedMark)sha256=\(attachment.digest.hex) path=\(attachment.path)".utf8
    }
    return file + "\n\(Self.keptMark)bytes=\(bytes.count) sha256=\(Digest(of: file)) path=\(path)\n".utf8
  }

  /// Nil for what is no kept configuration, or not whole.
  init?(kept file: [UInt8]) {
    guard file.last == UInt8(ascii: "\n"), let end = file.dropLast().lastIndex(of: UInt8(ascii: "\n")) else {
      return nil
    }
    let trailer = String(decoding: file[(end + 1)...].dropLast(), as: UTF8.self)
    guard trailer.hasPrefix(Self.keptMark) else { return nil }
    let fields = trailer.dropFirst(Self.keptMark.count).split(separator: " ", maxSplits: 2)
    guard fields.count == 3, fields[0].hasPrefix("bytes="), let count = Int(fields[0].dropFirst(6)),
      (0...end).contains(count), file[count] == UInt8(ascii: "\n"),
      fields[1] == "sha256=\(Digest(of: Array(file[..<end])))",
      fields[2].hasPrefix("path=")
    else { return nil }
    var attachments: [Attachment] = []
    for line in file[count..<end].split(separator: UInt8(ascii: "\n")) {
      let line = String(decoding: line, as: UTF8.self)
      guard line.hasPrefix(Self.attachedMark) else { return nil }
      let fields = line.dropFirst(Self.attachedMark.count).split(separator: " ", maxSplits: 1)
      guard fields.count == 2, fields[0].hasPrefix("sha256="), fields[1].hasPrefix("path="),
        let digest = Hex.decode(String(fields[0].dropFirst(7))).flatMap({ Digest(bytes: $0) })
      else { return nil }
      attachments.append(Attachment(path: String(fields[1].dropFirst(5)), digest: digest))
    }
    self.init(path: String(fields[2].dropFirst(5)), bytes: Array(file[..<count]), attachments: attachments)
  }
}
