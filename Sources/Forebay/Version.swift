/// The version of this software, as `forebay --version` and the status tell it.
enum Version {
  static let current = "0.1.0"
}
