internal import Status

/// `alarms`.
extension ConfigurationDecoder {
  func alarms(_ value: ConfigurationValue?) -> AlarmSettings {
    var alarms = AlarmSettings()
    guard let section = value?.section() else { return alarms }
    section.set(&alarms.runbooks, from: "runbooks") { value in
      let expected = "a URL or an absolute path, to which '#' and the kind of the alarm are added"
      guard let text = value.text(expected: expected) else { return nil }
      guard text.hasPrefix("/") || text.hasPrefix("https://") || text.hasPrefix("http://"), !text.contains("#"),
        text.utf8.count <= 200
      else {
        value.error("\(quoted(text)) is no place for runbooks, expected \(expected), of at most 200 bytes")
        return nil
      }
      return text
    }
    section.set(&alarms.longestWait, from: "backlog") {
      $0.duration(in: 60 * ConfigurationDecoder.second...30 * ConfigurationDecoder.day)
    }
    section.close()
    return alarms
  }
}
