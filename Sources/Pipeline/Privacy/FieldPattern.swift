/// The fields that a rule of privacy is about: a ``FieldPath`` in which `[]` or `[*]` stands for all elements of an
/// array, as in `rxInfo[].gatewayId`.
package struct FieldPattern: Sendable, Hashable, CustomStringConvertible {
  enum Step: Sendable, Hashable {
    /// A member's name, UTF-8, without escapes.
    case member([UInt8])
    case element(Int)
    case everyElement
  }

  /// Steps of a pattern: bounds the recursion that follows them.
  package static let maximumSteps = 32

  let steps: [Step]
  /// As it was written.
  package let description: String

  package init(parsing text: String) throws(FieldPath.Malformed) {
    let bytes = Array(text.utf8)
    var steps: [Step] = []
    var start = 0
    for (end, length) in FieldPattern.placesOfAll(bytes) + [(bytes.count, 0)] {
      var part = start
      if part == end {
        // Nothing stands between two `[]`, or behind the last.
        if start == 0 { throw FieldPath.Malformed(reason: "a field's name was expected", position: 0) }
      } else {
        if start > 0 {
          switch bytes[part] {
          case UInt8(ascii: "."): part += 1
          case UInt8(ascii: "["): break
          default: throw FieldPath.Malformed(reason: "a dot or a bracket was expected behind []", position: part)
          }
        }
        let path: FieldPath
        do throws(FieldPath.Malformed) {
          path = try FieldPath(parsing: String(decoding: bytes[part..<end], as: UTF8.self))
        } catch {
          throw FieldPath.Malformed(reason: error.reason, position: part + error.position)
        }
        for step in path.steps {
          switch step {
          case .member(let name): steps.append(.member(name))
          case .element(let number): steps.append(.element(number))
          }
        }
      }
      if end < bytes.count { steps.append(.everyElement) }
      start = end + length
    }
    guard steps.count <= FieldPattern.maximumSteps else {
      throw FieldPath.Malformed(
        reason: "the path has more than \(FieldPattern.maximumSteps) steps; name a field further up", position: 0)
    }
    self.steps = steps
    description = text
  }

  /// Whether both are about the same fields, however they are written.
  package func isSame(as other: FieldPattern) -> Bool { steps == other.steps }

  /// Where `[]` and `[*]` stand outside of names in brackets, and how long they are.
  private static func placesOfAll(_ bytes: [UInt8]) -> [(place: Int, length: Int)] {
    var places: [(place: Int, length: Int)] = []
    var index = 0
    while index + 1 < bytes.count {
      if let all = ["[]", "[*]"].first(where: { bytes[index...].starts(with: $0.utf8) }) {
        places.append((index, all.utf8.count))
        index += all.utf8.count
      } else if bytes[index] == UInt8(ascii: "["), bytes[index + 1] == UInt8(ascii: "\"") {
        index += 2
        while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
          index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        index += 1
      } else {
        index += 1
      }
    }
    return places
  }

  /// Calls `body` with the index of every value that it is about, within the value at `start`. Of a member
  /// that stands there several times, all: whoever reads the payload may take any of them.
  func forEachMatch(
    _ tape: JSONTape, from start: Int, in bytes: UnsafeRawBufferPointer, _ body: (Int) -> Void
  ) {
    follow(0, tape, start, bytes, body)
  }

  private func follow(
    _ step: Int, _ tape: JSONTape, _ index: Int, _ bytes: UnsafeRawBufferPointer, _ body: (Int) -> Void
  ) {
    guard step < steps.count else { return body(index) }
    let value = tape.values[index]
    switch steps[step] {
    case .member(let name):
      guard value.kind == .object else { return }
      var child = index + 1
      while child < value.next {
        if tape.isName(of: tape.values[child], name, in: bytes) { follow(step + 1, tape, child, bytes, body) }
        child = tape.values[child].next
      }
    case .element(let number):
      if let child = tape.element(number, of: index) { follow(step + 1, tape, child, bytes, body) }
    case .everyElement:
      guard value.kind == .array else { return }
      var child = index + 1
      while child < value.next {
        follow(step + 1, tape, child, bytes, body)
        child = tape.values[child].next
      }
    }
  }
}
