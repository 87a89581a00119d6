internal import Delivery
internal import Status

/// `alarms`.
extension ConfigurationDecoder {
  /// - Parameter sources: the names of those that are declared.
  func alarms(_ value: ConfigurationValue?, sources: [String]) -> (AlarmSettings, NotificationSettings) {
    var alarms = AlarmSettings()
    var notifications = NotificationSettings()
    guard let section = value?.section() else { return (alarms, notifications) }
    section.set(&alarms.runbooks, from: "runbooks", runbooks)
    section.set(&alarms.longestWait, from: "backlog") {
      $0.duration(in: 60 * ConfigurationDecoder.second...30 * ConfigurationDecoder.day)
    }
    let longest = 60 * ConfigurationDecoder.second...365 * ConfigurationDecoder.day
    section.set(&alarms.expiryTicket, from: "expiry_ticket") { $0.duration(in: longest) }
    let page = section.optional("expiry_page")
    if let page, let duration = page.duration(in: longest) { alarms.expiryPage = duration }
    if alarms.expiryPage > alarms.expiryTicket, let page {
      page.error("a page comes after a ticket, not before it", hint: "choose at most expiry_ticket")
    }
    alarms.expiryPage = min(alarms.expiryPage, alarms.expiryTicket)
    section.set(&notifications.webhook, from: "webhook", webhook)
    section.set(&notifications.mqtt, from: "mqtt") { mqttNotifications($0, sources: sources) }
    section.set(&notifications.interval, from: "interval") {
      $0.duration(in: ConfigurationDecoder.second...ConfigurationDecoder.day)
    }
    section.close()
    return (alarms, notifications)
  }

  private func runbooks(_ value: ConfigurationValue) -> String? {
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

  private func webhook(_ value: ConfigurationValue) -> UplinkSettings.HTTP? {
    guard let section = value.section() else { return nil }
    let urlValue = section.required("url")
    let url = urlValue?.url(schemes: ["http", "https"], allowsPath: true)
    let isEncrypted = url?.scheme == "https"
    var http = UplinkSettings.HTTP(url: url?.text ?? "")
    let tokenValue = section.optional("token_file")
    http.tokenFile = tokenValue?.file(.token)
    if let tokenValue, let url, !isEncrypted, !url.isLoopback {
      urlValue?.warning(
        "the token of \(tokenValue.path) goes over the network in the clear", hint: "use https://")
    }
    let identity = identity(section)
    if isEncrypted {
      http.caFile = identity.ca
      http.certificateFile = identity.certificate
      http.keyFile = identity.key
    } else if url != nil {
      refuse(identity, scheme: "https")
    }
    http.proxy = section.optional("proxy")?.url(schemes: ["http"], allowsPath: false)?.text
    // Nobody waits for the answer but the next notification.
    http.timeout = 10 * ConfigurationDecoder.second
    section.set(&http.timeout, from: "timeout") {
      $0.duration(in: ConfigurationDecoder.second...600 * ConfigurationDecoder.second)
    }
    section.close()
    return url == nil ? nil : http
  }

  private func mqttNotifications(_ value: ConfigurationValue, sources: [String]) -> NotificationSettings.MQTT? {
    guard let section = value.section() else { return nil }
    let source = section.required("source")?.reference(to: "a source", among: sources)
    let topic = section.required("topic").flatMap(topic)
    section.close()
    guard let source, let topic else { return nil }
    return NotificationSettings.MQTT(source: source, topic: topic)
  }

  /// A topic name (MQTT 5.0, section 4.7.1) with room for what is added.
  private func topic(_ value: ConfigurationValue) -> String? {
    let expected = "a topic such as plant-7/gw-042/alarms"
    guard let text = value.text(expected: expected) else { return nil }
    guard !text.contains("+"), !text.contains("#"), !text.hasPrefix("$"), !text.hasSuffix("/"), text.utf8.count <= 1024
    else {
      value.error(
        "\(quoted(text)) is no topic to publish to, expected \(expected): without + and #, not beginning with $, not "
          + "ending with /, of at most 1024 bytes")
      return nil
    }
    return text
  }
}
