/// The keywords by which a schema itself refuses a value; others hand it on to further schemas.
package enum SchemaKeyword: String, Sendable, Hashable {
  case type
  case enumeration = "enum"
  case const
  case minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf
  case minLength, maxLength, pattern, format
  case required, minProperties, maxProperties, dependentRequired, propertyNames
  case contains, minContains, maxContains, minItems, maxItems, uniqueItems
  case anyOf, oneOf, not
  /// The schema is `false`: of a member that is not described, say, where `additionalProperties` is.
  case never = "false"
}

/// One thing that a node demands. `a` and `b` say where the rest of it stands, by keyword.
struct SchemaOperation: Sendable {
  enum Code: UInt8, Sendable {
    case never, type, enumeration, number, string, object, array, dependentRequired, dependentSchemas
    case allOf, anyOf, oneOf, not, condition, reference, dynamicReference
    case unevaluatedItems, unevaluatedProperties
  }

  var code: Code
  var a: Int32 = -1
  var b: Int32 = -1
}

/// A schema: the operations that a value must pass.
struct SchemaNode: Sendable {
  var firstOperation: Int32 = 0
  var operationCount: Int32 = 0
  /// The schema resource that it stands in.
  var resource: Int32 = 0
  /// Whether it must know which members or elements were looked at.
  var hasUnevaluated = false
}

/// The types of `type`, as bits.
struct SchemaTypes: OptionSet, Sendable, Hashable {
  let rawValue: Int32
  static let null = SchemaTypes(rawValue: 1)
  static let boolean = SchemaTypes(rawValue: 2)
  static let number = SchemaTypes(rawValue: 4)
  static let integer = SchemaTypes(rawValue: 8)
  static let string = SchemaTypes(rawValue: 16)
  static let array = SchemaTypes(rawValue: 32)
  static let object = SchemaTypes(rawValue: 64)

  /// By the names that the keyword has for them, in the order of the bits.
  static let names = ["null", "boolean", "number", "integer", "string", "array", "object"]

  init(rawValue: Int32) { self.rawValue = rawValue }

  /// Nil for a name that JSON Schema does not know.
  init?(named name: String) {
    guard let bit = SchemaTypes.names.firstIndex(of: name) else { return nil }
    rawValue = 1 << Int32(bit)
  }

  var names: [String] {
    SchemaTypes.names.indices.filter { rawValue & 1 << Int32($0) != 0 }.map { SchemaTypes.names[$0] }
  }
}

/// A number of a schema. Where it is not short its digits stand in ``SchemaProgram/numberTexts``.
struct SchemaNumber: Sendable {
  var shape: DecimalShape
  var text: Range<Int>
}

/// Indices into ``SchemaProgram/numbers``; -1 where the keyword is not there.
struct NumberRules: Sendable {
  var minimum: Int32 = -1
  var maximum: Int32 = -1
  var exclusiveMinimum: Int32 = -1
  var exclusiveMaximum: Int32 = -1
  var multipleOf: Int32 = -1
}

/// Lengths are in code points; -1 where a keyword is not there.
struct StringRules: Sendable {
  var minLength = -1
  var maxLength = -1
  var pattern: Int32 = -1
  var format: SchemaFormat?
}

/// -1 where a keyword is not there.
struct ObjectRules: Sendable {
  var names = NameTable.Table()
  /// The names that must be there: entries of the table, in ``SchemaProgram/lists``.
  var required: Range<Int32> = 0..<0
  var patterns: Range<Int32> = 0..<0
  var additional: Int32 = -1
  var propertyNames: Int32 = -1
  var minProperties = -1
  var maxProperties = -1
  /// Whether members must be looked at one by one.
  var looksAtMembers: Bool {
    !names.isEmpty || !patterns.isEmpty || additional >= 0 || propertyNames >= 0
  }
}

struct PatternRule: Sendable {
  var pattern: Int32
  var node: Int32
}

/// -1 where a keyword is not there.
struct ArrayRules: Sendable {
  var prefix: Range<Int32> = 0..<0
  var items: Int32 = -1
  var contains: Int32 = -1
  var minContains = 1
  var maxContains = Int.max
  var minItems = -1
  var maxItems = -1
  var isUnique = false
}

struct EnumRules: Sendable {
  /// Those that are strings.
  var strings = NameTable.Table()
  /// All others.
  var others: Range<Int32> = 0..<0
  var isConst = false
}

/// A value of `enum` or `const`.
struct SchemaConstant: Sendable {
  var hash: UInt64
  /// Its place on ``SchemaProgram/constants``.
  var index: Int
}

/// `$dynamicRef` to a `$dynamicAnchor`: by the outermost resource that has the anchor.
struct DynamicReference: Sendable {
  /// Where none of the resources around has it.
  var initial: Int32
  /// By resource.
  var targets: [Int32: Int32] = [:]
}

/// A compiled schema. Everything is in flat lists of plain values, and what belongs to a node is found by
/// index, so that looking takes no reference counting.
final class SchemaProgram: Sendable {
  /// What is filled in while a schema is compiled.
  struct Parts: Sendable {
    var nodes: [SchemaNode] = []
    /// The JSON Pointer of each node in its document, behind the document's URI where it is not the schema itself.
    var locations: [String] = []
    var operations: [SchemaOperation] = []
    var lists: [Int32] = []
    var names = NameTable()
    var numbers: [SchemaNumber] = []
    var numberTexts: [UInt8] = []
    var numberRules: [NumberRules] = []
    var stringRules: [StringRules] = []
    var objectRules: [ObjectRules] = []
    var patternRules: [PatternRule] = []
    var arrayRules: [ArrayRules] = []
    var enumRules: [EnumRules] = []
    var constantList: [SchemaConstant] = []
    var constantText: [UInt8] = []
    var constants = JSONTape()
    var patterns: [SchemaPattern] = []
    /// Each: the name that is asked for, and those that it demands.
    var dependentNames: [(name: [UInt8], demanded: [[UInt8]])] = []
    /// Each: the name that is asked for, and the node.
    var dependentNodes: [(name: [UInt8], node: Int32)] = []
    var dynamicReferences: [DynamicReference] = []
  }

  let nodes: [SchemaNode]
  let operations: [SchemaOperation]
  let lists: [Int32]
  let names: NameTable
  let numbers: [SchemaNumber]
  let numberRules: [NumberRules]
  let stringRules: [StringRules]
  let objectRules: [ObjectRules]
  let arrayRules: [ArrayRules]
  let patterns: [SchemaPattern]
  /// What is needed more rarely.
  let parts: Parts
  let usesDynamicScope: Bool

  init(_ parts: Parts) {
    nodes = parts.nodes
    operations = parts.operations
    lists = parts.lists
    names = parts.names
    numbers = parts.numbers
    numberRules = parts.numberRules
    stringRules = parts.stringRules
    objectRules = parts.objectRules
    arrayRules = parts.arrayRules
    patterns = parts.patterns
    self.parts = parts
    usesDynamicScope = !parts.dynamicReferences.isEmpty
  }
}
