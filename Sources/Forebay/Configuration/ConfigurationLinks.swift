internal import Delivery
internal import Ingest
internal import Telemetry

/// The two ends: the brokers that messages come from and the upstreams that batches go to.
extension ConfigurationDecoder {
  // MARK: sources

  func source(_ value: ConfigurationValue, name: String) -> Placed<SourceSettings>? {
    guard let section = value.section() else { return nil }
    let source = section.required("mqtt").flatMap { mqtt($0, name: name) }
    section.close()
    return source.map { Placed(settings: $0, value: value) }
  }

  private enum SessionExpiryWord: String, CaseIterable {
    case never
  }

  private func mqtt(_ value: ConfigurationValue, name: String) -> SourceSettings? {
    guard let section = value.section() else { return nil }
    let urlValue = section.required("url")
    let url = urlValue?.url(schemes: ["mqtt", "mqtts"], allowsPath: false)
    let isEncrypted = url?.scheme == "mqtts"
    var source = SourceSettings(
      name: name, host: url?.host ?? "", port: url?.port ?? (isEncrypted ? 8883 : 1883))

    let userValue = section.optional("user")
    source.user = userValue?.text(expected: "a user name")
    let passwordValue = section.optional("password_file")
    source.passwordFile = passwordValue?.file(.secret)
    if userValue == nil {
      // MQTT 3.1.1, section 3.1.2.9, forbids it, and no broker here asks for it.
      passwordValue?.error(
        at: passwordValue?.keyPlace, "there is a password but no user", hint: "add the key 'user'")
    }
    if let passwordValue, let url, !isEncrypted, !url.isLoopback {
      urlValue?.warning(
        "the password of \(passwordValue.path) goes over the network in the clear",
        hint: "use mqtts://")
    }

    let identity = identity(section)
    if isEncrypted {
      source.tls = SourceSettings.TLS(
        caFile: identity.ca, certificateFile: identity.certificate, keyFile: identity.key)
    } else if url != nil {
      refuse(identity, scheme: "mqtts")
    }

    section.set(&source.version, from: "version") { $0.choice(SourceSettings.ProtocolVersion.self) }
    section.set(&source.keepalive, from: "keepalive") {
      $0.wholeSeconds(in: 5...65_535).map { Int($0) }
    }
    let expiry = section.optional("session_expiry")
    if let seconds = expiry?.sessionExpiry() { source.sessionExpiry = seconds }
    let receiveMaximum = section.optional("receive_max")
    if let count = receiveMaximum?.integer(in: 1...65_535) {
      source.receiveMaximum = UInt16(clamping: count)
    }
    let maximumPacket = section.optional("max_packet")
    if let bytes = maximumPacket?.byteSize(in: 1024...268_435_455) {
      source.maximumPacketSize = UInt32(clamping: bytes)
    }
    if source.version == .mqtt311 {
      for value in [expiry, receiveMaximum, maximumPacket] {
        value?.warning(
          at: value?.keyPlace, "has no effect: MQTT 3.1.1 knows nothing of it",
          hint: "leave 'version' at 5")
      }
    }
    section.set(&source.retained, from: "retained") {
      $0.choice(SourceSettings.RetainedRule.self)
    }
    section.close()
    return source
  }

  // MARK: uplinks

  func uplink(_ value: ConfigurationValue, name: String) -> Placed<UplinkSettings>? {
    guard let section = value.section() else { return nil }
    let httpValue = section.optional("http")
    let fileValue = section.optional("file")
    let http = httpValue.flatMap(http).map(UplinkSettings.Kind.http)
    let file = fileValue.flatMap(file).map(UplinkSettings.Kind.file)
    if let httpValue, let fileValue {
      let second = max(httpValue.keyPlace, fileValue.keyPlace)
      value.error(at: second, "an uplink is either http or file, not both", hint: "make two uplinks of it")
    } else if httpValue == nil, fileValue == nil {
      value.error(at: value.keyPlace, "says nothing of where to deliver, expected the key 'http' or 'file'")
    }
    // The other keys are checked also when the kind is wrong.
    var uplink = UplinkSettings(
      name: name, kind: http ?? file ?? .file(UplinkSettings.File(directory: "/")))
    section.set(&uplink.retry, from: "retry", retry)
    section.set(&uplink.breaker, from: "breaker") { value in
      guard let section = value.section() else { return nil }
      var breaker = UplinkSettings.Breaker()
      section.set(&breaker.failures, from: "failures") { $0.integer(in: 1...1000) }
      section.close()
      return breaker
    }
    section.set(&uplink.concurrency, from: "concurrency") { $0.integer(in: 1...64) }
    section.set(&uplink.refusalsBeforeHold, from: "refusals_before_hold") { $0.integer(in: 2...1000) }
    uplink.price = section.optional("price").flatMap(price)
    section.close()
    return http ?? file == nil ? nil : Placed(settings: uplink, value: value)
  }

  private func price(_ value: ConfigurationValue) -> LinkPrice? {
    let expected = "a price such as '0.12 EUR/MB' or '90 EUR/GB'"
    guard let text = value.text(expected: expected) else { return nil }
    guard let price = LinkPrice(text) else {
      value.error("\(quoted(text)) is no price, expected \(expected)")
      return nil
    }
    return price
  }

  private func http(_ value: ConfigurationValue) -> UplinkSettings.HTTP? {
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
    section.set(&http.receipt, from: "receipt") { $0.choice(UplinkSettings.ReceiptRule.self) }
    let identity = identity(section)
    if isEncrypted {
      http.caFile = identity.ca
      http.certificateFile = identity.certificate
      http.keyFile = identity.key
    } else if url != nil {
      refuse(identity, scheme: "https")
    }
    http.proxy = section.optional("proxy")?.url(schemes: ["http"], allowsPath: false)?.text
    section.set(&http.timeout, from: "timeout") {
      $0.duration(in: ConfigurationDecoder.second...3600 * ConfigurationDecoder.second)
    }
    section.close()
    return url == nil ? nil : http
  }

  private func file(_ value: ConfigurationValue) -> UplinkSettings.File? {
    guard let section = value.section() else { return nil }
    let directory = section.required("directory")?.location()
    var file = UplinkSettings.File(directory: directory ?? "/")
    section.set(&file.maximumBytes, from: "max_bytes") {
      $0.byteSize(in: 1024...(1 << 40)).map { Int($0) }
    }
    section.set(&file.maximumAge, from: "max_age") {
      $0.duration(in: ConfigurationDecoder.second...366 * ConfigurationDecoder.day)
    }
    section.close()
    return directory == nil ? nil : file
  }

  private func retry(_ value: ConfigurationValue) -> UplinkSettings.Retry? {
    guard let section = value.section() else { return nil }
    var retry = UplinkSettings.Retry()
    let initial = section.optional("initial")
    let range = 1_000_000...ConfigurationDecoder.day
    if let duration = initial?.duration(in: range) { retry.initial = duration }
    let maximum = section.optional("max")
    if let duration = maximum?.duration(in: range) { retry.maximum = duration }
    if retry.maximum < retry.initial {
      let initialText = Quantity.describe(duration: retry.initial)
      let maximumText = Quantity.describe(duration: retry.maximum)
      (maximum ?? initial ?? value).error(
        "the longest delay (max: \(maximumText)) is shorter than the first (initial: \(initialText))")
    }
    section.set(&retry.hold, from: "hold") {
      $0.duration(in: ConfigurationDecoder.second...ConfigurationDecoder.day)
    }
    section.close()
    return retry
  }

  // MARK: TLS

  /// The three keys of TLS, the same for both ends.
  struct TLSIdentity {
    var ca: String?
    var certificate: String?
    var key: String?
    var values: [ConfigurationValue] = []
  }

  func identity(_ section: ConfigurationSection) -> TLSIdentity {
    let ca = section.optional("ca_file")
    let certificate = section.optional("certificate_file")
    let key = section.optional("key_file")
    if key == nil {
      certificate?.error(
        at: certificate?.keyPlace, "a certificate needs its key", hint: "add the key 'key_file'")
    }
    if certificate == nil {
      key?.error(
        at: key?.keyPlace, "a key needs its certificate", hint: "add the key 'certificate_file'")
    }
    return TLSIdentity(
      ca: ca?.file(.certificates), certificate: certificate?.file(.certificates),
      key: key?.file(.privateKey), values: [ca, certificate, key].compactMap { $0 })
  }

  /// Who names certificates believes that the link is encrypted.
  func refuse(_ identity: TLSIdentity, scheme: String) {
    for value in identity.values {
      value.error(
        at: value.keyPlace, "has no effect: the URL is not encrypted", hint: "use \(scheme)://")
    }
  }
}

extension ConfigurationValue {
  /// Whole seconds, as MQTT counts them.
  func wholeSeconds(in range: ClosedRange<Int64>) -> Int64? {
    let second = ConfigurationDecoder.second
    guard let duration = duration(in: range.lowerBound * second...range.upperBound * second) else {
      return nil
    }
    guard duration % second == 0 else {
      error("\(Quantity.describe(duration: duration)) is no whole number of seconds")
      return nil
    }
    return duration / second
  }

  /// Seconds, or `never`.
  func sessionExpiry() -> UInt32? {
    if case .scalar(let scalar) = node.content, scalar.text == "never" { return .max }
    // A session that ends sooner would be forgotten by the broker during a reboot, with its backlog.
    return wholeSeconds(in: 60...Int64(UInt32.max) - 1).map { UInt32(clamping: $0) }
  }
}
