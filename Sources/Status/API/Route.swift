internal import HTTPTypes

/// One resource of the API: method, path, who may, and what answers.
struct Route: Sendable {
  enum Segment: Sendable, Hashable {
    case literal(String)
    case parameter(String)
  }

  /// What a handler has at hand.
  struct Call: Sendable {
    var source: any StatusSource
    var hub: EventHub
    var caller: Caller
    /// Whether the caller may view: of interest where everybody may ask.
    var mayView: Bool
    /// Of the path, by name.
    var path: [String: String]
    /// Of the query.
    var parameters: [String: String]
    var body: [UInt8]
  }

  enum Reply: Sendable {
    case json([UInt8])
    /// It was made: 201.
    case created([UInt8])
    case bytes([UInt8], contentType: String)
    /// An answer that says in its status how things are.
    case state(Int, [UInt8])
    /// The caller has it already: 304.
    case unchanged
    /// Events, for as long as the client stays.
    case events(EventHub.Listener)
  }

  /// `GET` or `POST`; a `HEAD` is answered like a `GET`.
  var method: HTTPRequest.Method
  /// As OpenAPI writes it: `/v1/pipelines/{pipeline}`.
  var template: String
  var segments: [Segment]
  /// The least that the caller must be; nil: everybody, without a token.
  var role: Role?
  /// Names in the query that it takes; others are refused, so that a mistyped one is not ignored.
  var parameters: Set<String>
  var handler: @Sendable (Call) async throws(Problem) -> Reply

  init(
    _ method: HTTPRequest.Method, _ template: String, _ role: Role?, parameters: Set<String> = [],
    _ handler: @escaping @Sendable (Call) async throws(Problem) -> Reply
  ) {
    self.method = method
    self.template = template
    self.role = role
    self.parameters = parameters
    self.handler = handler
    segments = template.split(separator: "/").map {
      $0.hasPrefix("{") ? .parameter(String($0.dropFirst().dropLast())) : .literal(String($0))
    }
  }

  /// The path's parameters; nil where the path is another one.
  func match(_ path: [String]) -> [String: String]? {
    guard path.count == segments.count else { return nil }
    var found: [String: String] = [:]
    for (segment, text) in zip(segments, path) {
      switch segment {
      case .literal(let literal): guard literal == text else { return nil }
      case .parameter(let name): found[name] = text
      }
    }
    return found
  }
}

extension Route.Call {
  /// Asks the daemon.
  func ask(_ question: StatusQuestion) async throws(Problem) -> Route.Reply {
    do throws(StatusFault) {
      guard let bytes = try await source.answer(question) else {
        throw StatusFault(.unknown, "this daemon has no such resource")
      }
      return .json(bytes)
    } catch {
      throw Problem(error)
    }
  }

  /// Has the daemon do it.
  func perform(_ action: StatusAction) async throws(Problem) -> [UInt8] {
    do throws(StatusFault) {
      return try await source.perform(action, for: caller)
    } catch {
      throw Problem(error)
    }
  }
}
