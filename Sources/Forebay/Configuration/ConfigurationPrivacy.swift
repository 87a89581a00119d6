internal import Pipeline
internal import Telemetry

/// What becomes of personal fields, and the keys of their tokens.
extension ConfigurationDecoder {
  private enum MaskWord: String, CaseIterable {
    case drop
    case hide
    case hash
    case tokenise
  }

  /// - Parameters:
  ///   - value: `mask`.
  ///   - keys: `token_keys`.
  func mask(_ value: ConfigurationValue?, keys keysValue: ConfigurationValue?) -> MaskSettings? {
    let keys = keysValue.map(tokenKeys)
    guard let value else {
      keysValue?.error(
        at: keysValue?.keyPlace, "nothing is tokenised", hint: "add the key 'mask' with a field and tokenise behind it")
      return nil
    }
    var rules: [FieldMask.Rule] = []
    for (name, value) in value.members(of: "a field") {
      guard let fields = fieldPattern(name, value), let method = method(value) else { continue }
      guard !rules.contains(where: { $0.fields.isSame(as: fields) }) else {
        value.error(at: value.keyPlace, "another entry is about the same field", hint: "leave one of them out")
        continue
      }
      if method == .tokenise, keysValue == nil {
        value.error(
          "tokens need a key",
          hint: "make one with: openssl rand -hex 32 > token.key; and add: token_keys: [{ id: k1, file: token.key }]")
      }
      rules.append(FieldMask.Rule(fields: fields, method: method))
    }
    guard !rules.isEmpty else { return nil }
    guard rules.contains(where: { $0.method == .tokenise }) else {
      keysValue?.warning(at: keysValue?.keyPlace, "no field is tokenised, so nothing needs these keys")
      return MaskSettings(rules: rules, tokeniser: nil)
    }
    let tokeniser = keys?.flatMap { try? Tokeniser(keys: $0) }
    // Without its keys a configuration is only looked at; whatever is done with it, nothing shows that should not.
    if tokeniser == nil {
      for index in rules.indices where rules[index].method == .tokenise { rules[index].method = .mask(keepingLast: 0) }
    }
    return MaskSettings(rules: rules, tokeniser: tokeniser)
  }

  private func fieldPattern(_ text: String, _ value: ConfigurationValue) -> FieldPattern? {
    do throws(FieldPath.Malformed) {
      return try FieldPattern(parsing: text)
    } catch {
      value.error(
        at: value.keyPlace, "the path \(quoted(text)) is not valid: \(error.reason)",
        hint: "for example owner.phone, or rxInfo[].gatewayId for all elements of an array")
      return nil
    }
  }

  private func method(_ value: ConfigurationValue) -> FieldMask.Method? {
    if case .mapping = value.node.content {
      guard let section = value.section() else { return nil }
      defer { section.close() }
      let kept = section.optional("keep_last")
      let digits = section.optional("hash")
      if let kept {
        digits?.error(at: digits?.keyPlace, "a field is either hashed or cut, not both", hint: "leave one of them out")
        return kept.integer(in: 0...32).map { .mask(keepingLast: $0) }
      }
      guard let digits else {
        value.error(
          "says nothing of what becomes of the field",
          hint: "{ keep_last: 4 }, { hash: 32 }, or one of the words drop, hide, hash, tokenise")
        return nil
      }
      return digits.integer(in: 16...64).map { .hash(digits: $0) }
    }
    switch value.choice(MaskWord.self) {
    case nil: return nil
    case .drop: return .drop
    case .hide: return .mask(keepingLast: 0)
    case .hash: return .hash(digits: 64)
    case .tokenise: return .tokenise
    }
  }

  /// The keys that can be had; nil after errors.
  private func tokenKeys(_ value: ConfigurationValue) -> [Tokeniser.Key]? {
    var keys: [Tokeniser.Key] = []
    var ids: Set<String> = []
    var isWhole = true
    for value in value.items() {
      guard let section = value.section() else { return nil }
      let idValue = section.required("id")
      let id = idValue?.text(expected: "1 to 16 letters, digits, - or _")
      let fileValue = section.required("file")
      let secret = fileValue?.tokenKey()
      section.close()
      if let id, !ids.insert(id).inserted {
        idValue?.error("two keys have the id \(quoted(id))", hint: "give the new one another: it stands in every token")
      }
      guard let id, let secret else {
        isWhole = false
        continue
      }
      do throws(MaskError) {
        keys.append(try Tokeniser.Key(id: id, secret: secret))
      } catch {
        let culprit = error.kind == .keyID ? idValue : fileValue
        culprit?.error(error.reason, concern: error.kind == .keyID ? .text : .attachment)
        isWhole = false
      }
    }
    return isWhole ? keys : nil
  }

  /// A mask on the field that the key comes from hides nothing.
  func check(mask value: ConfigurationValue?, of pipeline: PipelineSettings) {
    guard let mask = pipeline.mask, let rule = pipeline.ruleThatTheKeyDefeats(mask.rules) else { return }
    let culprit = value.map { $0.nearest(rule.fields.description) }
    culprit?.error(
      at: culprit?.keyPlace,
      "the pipeline's key comes from this field, and stands in every line as it is",
      hint: "take the key from a level of the topic, or leave the key out")
  }
}

extension ConfigurationValue {
  /// The bytes of a key: hexadecimal digits, else the file as it is. White space at the ends does not count, for
  /// editors add it.
  fileprivate func tokenKey() -> Secret? {
    guard let file = attachment(.key) else { return nil }
    func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
    var bytes = file.bytes.drop(while: isSpace)
    while let last = bytes.last, isSpace(last) { bytes.removeLast() }
    return Secret(Hex.decode(String(decoding: bytes, as: UTF8.self)) ?? Array(bytes))
  }
}
