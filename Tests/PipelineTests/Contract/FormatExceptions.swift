/// The cases under `optional/format` that do not pass where formats are asserted, by file; names are cut off
/// behind 100 characters. The formats of all files but `ecmascript-regex.json` are not checked at all: they only
/// describe, as the draft has it.
enum FormatExceptions {
  static let text = #"""
    # duration.json
    validation of duration strings: a comma as the decimal separator is invalid
    validation of duration strings: a leading sign is not allowed
    validation of duration strings: a number before the time separator has no unit
    validation of duration strings: a sign inside a component is invalid
    validation of duration strings: a trailing newline is invalid
    validation of duration strings: an invalid duration string
    validation of duration strings: element without unit
    validation of duration strings: elements out of order
    validation of duration strings: empty string is invalid
    validation of duration strings: exponent notation is not allowed in a component
    validation of duration strings: fractional duration is not allowed by RFC 3339 ABNF
    validation of duration strings: hours and seconds cannot appear without minutes
    validation of duration strings: invalid non-ASCII '২' (a Bengali 2)
    validation of duration strings: leading whitespace is invalid
    validation of duration strings: missing time separator
    validation of duration strings: must start with P
    validation of duration strings: no date or time elements present
    validation of duration strings: no elements present
    validation of duration strings: no time elements present
    validation of duration strings: time element in the date position
    validation of duration strings: trailing whitespace is invalid
    validation of duration strings: weeks cannot be combined with a time component
    validation of duration strings: weeks cannot be combined with a zero-valued component
    validation of duration strings: weeks cannot be combined with other units
    validation of duration strings: years and days cannot appear without months
    # ecmascript-regex.json
    ECMA 262 lookbehind is valid, including variable width: a variable-width lookbehind (ES2018)
    Python-specific regular expression syntax is not valid ECMA 262: Python named backreference (?P=name
    Python-specific regular expression syntax is not valid ECMA 262: Python named group (?P<name>...) is
    Python-specific regular expression syntax is not valid ECMA 262: inline comment group (?#...) is not
    \a is not an ECMA 262 control escape: when used as a pattern
    global inline flag groups are not valid ECMA 262: a single global inline flag (?i)
    global inline flag groups are not valid ECMA 262: multiple global inline flags (?ims)
    # email.json
    validation of e-mail addresses: an invalid IPv4-address-literal
    validation of e-mail addresses: an invalid domain
    validation of e-mail addresses: an invalid e-mail address
    validation of e-mail addresses: domain is required
    validation of e-mail addresses: dot after local part is not valid
    validation of e-mail addresses: dot before local part is not valid
    validation of e-mail addresses: full "From" header is invalid
    validation of e-mail addresses: local part is required
    validation of e-mail addresses: two email addresses is not valid
    validation of e-mail addresses: two subsequent dots inside local part are not valid
    validation of e-mail addresses: unquoted space in local part is invalid
    # hostname.json
    validation of A-label (punycode) host names: Arabic-Indic digits mixed with Extended Arabic-Indic di
    validation of A-label (punycode) host names: Begins with a Nonspacing Mark
    validation of A-label (punycode) host names: Begins with a Spacing Combining Mark
    validation of A-label (punycode) host names: Begins with an Enclosing Mark
    validation of A-label (punycode) host names: Exceptions that are DISALLOWED, left-to-right chars
    validation of A-label (punycode) host names: Exceptions that are DISALLOWED, right-to-left chars
    validation of A-label (punycode) host names: Greek KERAIA not followed by Greek
    validation of A-label (punycode) host names: Greek KERAIA not followed by anything
    validation of A-label (punycode) host names: Hebrew GERESH not preceded by Hebrew
    validation of A-label (punycode) host names: Hebrew GERESH not preceded by anything
    validation of A-label (punycode) host names: Hebrew GERSHAYIM not preceded by Hebrew
    validation of A-label (punycode) host names: Hebrew GERSHAYIM not preceded by anything
    validation of A-label (punycode) host names: KATAKANA MIDDLE DOT with no Hiragana, Katakana, or Han
    validation of A-label (punycode) host names: KATAKANA MIDDLE DOT with no other characters
    validation of A-label (punycode) host names: MIDDLE DOT with no following 'l'
    validation of A-label (punycode) host names: MIDDLE DOT with no preceding 'l'
    validation of A-label (punycode) host names: MIDDLE DOT with nothing following
    validation of A-label (punycode) host names: MIDDLE DOT with nothing preceding
    validation of A-label (punycode) host names: ZERO WIDTH JOINER not preceded by Virama
    validation of A-label (punycode) host names: ZERO WIDTH JOINER not preceded by anything
    validation of A-label (punycode) host names: contains "--" in the 3rd and 4th position
    validation of A-label (punycode) host names: contains illegal char U+302E Hangul single dot tone mar
    validation of A-label (punycode) host names: invalid Punycode
    validation of host names: IDN label separator
    validation of host names: contains underscore
    validation of host names: empty string
    validation of host names: ends with hyphen
    validation of host names: exceeds maximum label length (63)
    validation of host names: exceeds maximum overall length (256)
    validation of host names: invalid non-ASCII KELVIN SIGN (U+212A)
    validation of host names: leading dot
    validation of host names: single dot
    validation of host names: starts with hyphen
    validation of host names: trailing dot
    validation of host names: trailing newline is invalid
    # idn-email.json
    validation of an internationalized e-mail addresses: a fullwidth commercial at is not a local-part s
    validation of an internationalized e-mail addresses: an invalid e-mail/idn e-mail address
    # idn-hostname.json
    validation of internationalized host names: A-label that decodes to a Bidi rule violation is invalid
    validation of internationalized host names: A-label that decodes to a disallowed code point is inval
    validation of internationalized host names: A-label that decodes to only ASCII is invalid
    validation of internationalized host names: Arabic-Indic digits mixed with Extended Arabic-Indic dig
    validation of internationalized host names: Begins with a Nonspacing Mark
    validation of internationalized host names: Begins with a Spacing Combining Mark
    validation of internationalized host names: Begins with an Enclosing Mark
    validation of internationalized host names: Bidi domain name with a digit-first label is invalid
    validation of internationalized host names: Exceptions that are DISALLOWED, left-to-right chars
    validation of internationalized host names: Exceptions that are DISALLOWED, right-to-left chars
    validation of internationalized host names: Greek KERAIA not followed by Greek
    validation of internationalized host names: Greek KERAIA not followed by anything
    validation of internationalized host names: Hebrew GERESH not preceded by Hebrew
    validation of internationalized host names: Hebrew GERESH not preceded by anything
    validation of internationalized host names: Hebrew GERSHAYIM not preceded by Hebrew
    validation of internationalized host names: Hebrew GERSHAYIM not preceded by anything
    validation of internationalized host names: KATAKANA MIDDLE DOT with no Hiragana, Katakana, or Han
    validation of internationalized host names: KATAKANA MIDDLE DOT with no other characters
    validation of internationalized host names: MIDDLE DOT with no following 'l'
    validation of internationalized host names: MIDDLE DOT with no preceding 'l'
    validation of internationalized host names: MIDDLE DOT with nothing following
    validation of internationalized host names: MIDDLE DOT with nothing preceding
    validation of internationalized host names: U-label contains "--" in the 3rd and 4th position
    validation of internationalized host names: U-label ends with a dash
    validation of internationalized host names: U-label starts and ends with a dash
    validation of internationalized host names: U-label starts with a dash
    validation of internationalized host names: ZERO WIDTH JOINER not preceded by Virama
    validation of internationalized host names: ZERO WIDTH JOINER not preceded by anything
    validation of internationalized host names: a U-label whose A-label form is longer than 63 octets is
    validation of internationalized host names: a name longer than 253 characters is invalid
    validation of internationalized host names: a single label of 64 characters is too long
    validation of internationalized host names: contains illegal char U+302E Hangul single dot tone mark
    validation of internationalized host names: empty label between two dots is invalid
    validation of internationalized host names: empty string
    validation of internationalized host names: illegal first char U+302E Hangul single dot tone mark
    validation of internationalized host names: invalid Punycode
    validation of internationalized host names: invalid label, correct Punycode
    validation of internationalized host names: label starting with a digit before a right-to-left lette
    validation of internationalized host names: left-to-right label containing a right-to-left letter is
    validation of internationalized host names: non-canonical Punycode that does not re-encode to itself
    validation of internationalized host names: right-to-left label mixing both digit types is invalid
    validation of internationalized host names: zero width non-joiner must pass at every occurrence
    validation of separators in internationalized host names: leading dot
    validation of separators in internationalized host names: leading fullwidth full stop
    validation of separators in internationalized host names: leading halfwidth ideographic full stop
    validation of separators in internationalized host names: leading ideographic full stop
    validation of separators in internationalized host names: single dot
    validation of separators in internationalized host names: single fullwidth full stop
    validation of separators in internationalized host names: single halfwidth ideographic full stop
    validation of separators in internationalized host names: single ideographic full stop
    validation of separators in internationalized host names: trailing dot
    validation of separators in internationalized host names: trailing fullwidth full stop
    validation of separators in internationalized host names: trailing halfwidth ideographic full stop
    validation of separators in internationalized host names: trailing ideographic full stop
    # iri-reference.json
    validation of IRI References: an invalid IRI Reference
    validation of IRI References: an invalid IRI fragment
    # iri.json
    validation of IRIs: a trailing newline after a valid IRI is invalid
    validation of IRIs: an IPv6 address without enclosing brackets is invalid
    validation of IRIs: an IPv6 host whose embedded IPv4 has a leading zero is invalid
    validation of IRIs: an invalid IRI
    validation of IRIs: an invalid IRI though valid IRI reference
    validation of IRIs: an invalid relative IRI Reference
    # uri-reference.json
    validation of URI References: a colon in the first segment of a relative-path reference
    validation of URI References: a double quote in a path
    validation of URI References: a leading zero in the IPv4 part of an IPv6 literal
    validation of URI References: a non-numeric port in a network-path reference
    validation of URI References: an incomplete percent-encoding
    validation of URI References: an invalid URI Reference
    validation of URI References: an invalid URI fragment
    validation of URI References: invalid backslash character
    validation of URI References: more than one at-sign in the authority
    validation of URI References: square brackets outside an authority
    validation of URI References: unescaped non US-ASCII characters
    # uri-template.json
    format: uri-template: a default value in a varspec is invalid
    format: uri-template: a delete character in a literal is invalid
    format: uri-template: a double dot in a variable name is invalid
    format: uri-template: a five-digit prefix max-length is invalid
    format: uri-template: a leading zero in the prefix max-length is invalid
    format: uri-template: a space in a literal is invalid
    format: uri-template: a trailing comma in the variable list is invalid
    format: uri-template: a zero prefix max-length is invalid
    format: uri-template: an empty expression is invalid
    format: uri-template: an empty varspec inside the variable list is invalid
    format: uri-template: an invalid uri-template
    format: uri-template: an operator in place of the first varspec is invalid
    format: uri-template: an unmatched closing brace is invalid
    # uri.json
    validation of URIs: an invalid URI
    validation of URIs: an invalid URI though valid URI reference
    validation of URIs: an invalid URI with comma in scheme
    validation of URIs: an invalid URI with spaces
    validation of URIs: an invalid URI with spaces and missing scheme
    validation of URIs: an invalid protocol-relative URI Reference
    validation of URIs: an invalid relative URI Reference
    validation of URIs: incomplete percent-encoding triplet
    validation of URIs: invalid " character
    validation of URIs: invalid <> characters
    validation of URIs: invalid SPACE character
    validation of URIs: invalid ^ character
    validation of URIs: invalid ` character
    validation of URIs: invalid backslash character
    validation of URIs: invalid character in scheme
    validation of URIs: invalid percent-encoding with non-hex digits
    validation of URIs: invalid userinfo
    validation of URIs: invalid {} characters
    validation of URIs: invalid | character
    validation of URIs: leading zero in an embedded IPv4 address is invalid
    validation of URIs: lone percent sign is invalid
    validation of URIs: non-numeric port is invalid
    validation of URIs: scheme must start with a letter
    validation of URIs: square brackets are not allowed in a path segment
    validation of URIs: unescaped non US-ASCII characters
    """#

  /// `file: name` for each, as often as it is there.
  static let names: [String] = {
    var names: [String] = []
    var file = ""
    for line in text.split(separator: "\n") {
      if line.hasPrefix("# ") { file = String(line.dropFirst(2)) } else { names.append("\(file): \(line)") }
    }
    return names
  }()
}
