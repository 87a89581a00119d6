/// Where in a payload a value stands: `object.temperature`, `rxInfo[0].rssi`, `["odd.name"].x`.
///
/// A member's name is everything up to the next dot or bracket; one that holds a dot, a bracket or a quote
/// itself stands in brackets as a JSON string. Elements are counted from 0.
package struct FieldPath: Sendable, Hashable, CustomStringConvertible {
  package enum Step: Sendable, Hashable {
    /// A member's name, UTF-8, without escapes.
    case member([UInt8])
    case element(Int)
  }

  package let steps: [Step]
  /// As it was written.
  package let description: String

  /// Why a text is no path, and where.
  package struct Malformed: Error, Sendable, Hashable, CustomStringConvertible {
    package var reason: String
    /// Bytes before the fault.
    package var position: Int
    package var description: String { "\(reason) (character \(position + 1))" }
  }

  package init(parsing text: String) throws(Malformed) {
    let bytes = Array(text.utf8)
    var steps: [Step] = []
    var index = 0
    func fail(_ reason: String) -> Malformed { Malformed(reason: reason, position: index) }
    guard !bytes.isEmpty else { throw fail("the path is empty") }
    var expectsName = bytes[0] != UInt8(ascii: "[")
    while expectsName || index < bytes.count {
      if expectsName {
        let start = index
        while index < bytes.count, !FieldPath.special.contains(bytes[index]) { index += 1 }
        guard index > start else {
          throw fail("a name was expected, or [\"…\"] around one with dots, brackets or quotes")
        }
        steps.append(.member(Array(bytes[start..<index])))
        expectsName = false
      } else if bytes[index] == UInt8(ascii: ".") {
        index += 1
        expectsName = true
      } else if bytes[index] == UInt8(ascii: "[") {
        index += 1
        steps.append(try FieldPath.bracketed(bytes, &index))
      } else {
        throw fail("a dot, a bracket or the end was expected")
      }
    }
    self.steps = steps
    description = text
  }

  private static let special = Array(".[]\"".utf8)

  /// What stands in brackets, from behind the opening one to behind the closing one.
  private static func bracketed(_ bytes: [UInt8], _ index: inout Int) throws(Malformed) -> Step {
    let step: Step
    if index < bytes.count, bytes[index] == UInt8(ascii: "\"") {
      let start = index
      let outcome: Result<[UInt8], JSONError> = bytes.withUnsafeBytes { buffer in
        guard let base = buffer.baseAddress else { return .failure(JSONError(.unexpectedEnd, at: start)) }
        var cursor = JSONCursor(base, buffer.count)
        cursor.index = start
        do throws(JSONError) {
          _ = try cursor.string()
        } catch { return .failure(error) }
        index = cursor.index
        return .success(JSONText.unescape(UnsafeRawBufferPointer(rebasing: buffer[start + 1..<index - 1])))
      }
      switch outcome {
      case .success(let name): step = .member(name)
      case .failure(let error): throw Malformed(reason: "the name is no JSON string", position: error.position)
      }
    } else {
      let start = index
      while index < bytes.count, bytes[index] &- 0x30 <= 9 { index += 1 }
      guard index > start, let number = Int(String(decoding: bytes[start..<index], as: UTF8.self)) else {
        throw Malformed(reason: "a number, or a name in double quotes, was expected", position: start)
      }
      step = .element(number)
    }
    guard index < bytes.count, bytes[index] == UInt8(ascii: "]") else {
      throw Malformed(reason: "a closing bracket was expected", position: index)
    }
    index += 1
    return step
  }
}

extension JSONTape {
  /// The index of the value that a path leads to; nil where there is none.
  /// - Parameters:
  ///   - start: the value that the path begins at.
  ///   - bytes: those that were read.
  package func index(
    of path: FieldPath, from start: Int = 0, in bytes: UnsafeRawBufferPointer
  ) -> Int? {
    var index = start
    for step in path.steps {
      let next =
        switch step {
        case .member(let name): member(name, of: index, in: bytes)
        case .element(let number): element(number, of: index)
        }
      guard let next else { return nil }
      index = next
    }
    return index
  }
}
