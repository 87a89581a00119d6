internal import FoundationEssentials
internal import Telemetry

/// What stands in the bodies of actions. A key that nobody knows is refused: a mistyped `pipeline` must not mean
/// all of them.
protocol Order: Decodable {
  static var keys: Set<String> { get }
}

struct RequeueOrder: Order {
  static let keys: Set = ["pipeline", "stage", "rule", "all", "rate", "budgetBytes"]
  var pipeline: String?
  var stage: String?
  var rule: String?
  var all: Bool?
  var rate: String?
  var budgetBytes: Int64?
}

struct DiscardOrder: Order {
  static let keys: Set = ["pipeline", "stage", "rule", "all"]
  var pipeline: String?
  var stage: String?
  var rule: String?
  var all: Bool?
}

struct ReplayRequest: Order {
  static let keys: Set = ["pipeline", "from", "to", "rate", "budgetBytes"]
  var pipeline: String
  var from: String
  var to: String?
  var rate: Int64?
  var budgetBytes: Int64?
}

/// Of actions that need no more than their path.
struct EmptyOrder: Order {
  static let keys: Set<String> = []
}

private struct AnyKey: CodingKey {
  var stringValue: String
  var intValue: Int? { nil }
  init(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

/// The keys of an object, whatever stands behind them.
private struct Keys: Decodable {
  var names: [String]

  init(from decoder: any Decoder) throws {
    names = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue)
  }
}

extension Route.Call {
  /// The body as an order; an empty one is `{}`.
  func order<T: Order>(_ type: T.Type) throws(Problem) -> T {
    let data = Data(body.isEmpty ? Array("{}".utf8) : body)
    do {
      if let unknown = try JSONDecoder().decode(Keys.self, from: data).names.filter({ !T.keys.contains($0) }).min() {
        throw Problem.invalid(
          "the body has no key \(unknown.shortened(to: 64)); there are: \(T.keys.sorted().joined(separator: ", "))")
      }
      return try JSONDecoder().decode(type, from: data)
    } catch let problem as Problem {
      throw problem
    } catch let error as DecodingError {
      throw .invalid("the body cannot be read: \(error.place)")
    } catch {
      throw .invalid("the body is no JSON object")
    }
  }

  /// One whole number of the query.
  func number(_ name: String, in range: ClosedRange<Int>, default usual: Int) throws(Problem) -> Int {
    guard let text = parameters[name] else { return usual }
    guard let number = Int(text), range.contains(number) else {
      throw .invalid("'\(name)' is a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// Which dead letters the query means.
  func letters() throws(Problem) -> DeadLetterQuery {
    try Self.letters(parameters["pipeline"], parameters["stage"], parameters["rule"])
  }

  static func letters(
    _ pipeline: String?, _ stage: String?, _ rule: String?
  ) throws(Problem) -> DeadLetterQuery {
    if let stage, Stage(rawValue: stage) == nil {
      throw .invalid("there is no such stage; there are: \(Stage.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return DeadLetterQuery(pipeline: pipeline, stage: stage.flatMap(Stage.init(rawValue:)), rule: rule)
  }

  func page(upTo maximum: Int) throws(Problem) -> StatusQuestion.Page {
    StatusQuestion.Page(
      after: parameters["after"], limit: try number("limit", in: 1...maximum, default: min(100, maximum)))
  }
}

extension DecodingError {
  /// Where and what, without the value.
  fileprivate var place: String {
    func path(_ context: Context) -> String {
      context.codingPath.isEmpty ? "" : " at " + context.codingPath.map(\.stringValue).joined(separator: ".")
    }
    switch self {
    case .keyNotFound(let key, _): return "the key \(key.stringValue) is missing"
    case .typeMismatch(_, let context), .valueNotFound(_, let context): return "another type is expected\(path(context))"
    case .dataCorrupted(let context): return "it is no JSON, or a value is out of range\(path(context))"
    @unknown default: return "it is not what is expected"
    }
  }
}
