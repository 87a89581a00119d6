/// A file or an address that a command was told to use and cannot.
struct UnusableInput: Error, Sendable, Hashable, CustomStringConvertible {
  var place: String
  var reason: String
  var description: String { "\(place) \(reason)" }
}
