/// A JSON Schema of draft 2020-12 (https://json-schema.org/draft/2020-12), compiled once and used for many
/// values. It holds no state: the same value always gets the same answer.
///
/// All vocabularies are known; `format` and `content…` only describe, unless the options or the meta-schema say
/// that formats count. Numbers are compared exactly, whatever their size.
package struct JSONSchema: Sendable {
  package struct Options: Sendable, Hashable {
    /// Whether `format` is checked, for the formats of ``SchemaFormat``.
    package var assertsFormat: Bool
    package var limits: SchemaLimits

    package init(assertsFormat: Bool = false, limits: SchemaLimits = SchemaLimits()) {
      self.assertsFormat = assertsFormat
      self.limits = limits
    }
  }

  let program: SchemaProgram
  private let limits: SchemaLimits

  /// Compiles a schema.
  /// - Parameters:
  ///   - text: the schema, a JSON text.
  ///   - baseURI: what relative references in it start from, where it has no `$id`.
  ///   - resources: gives the text of another document by its URI (without fragment), nil where there is none.
  ///     The meta-schemas of draft 2020-12 need not be given.
  package init(
    compiling text: [UInt8], baseURI: String = "", options: Options = Options(),
    resources: @escaping (String) -> [UInt8]? = { _ in nil }
  ) throws(SchemaError) {
    var compiler = SchemaCompiler(options: options, resources: resources)
    program = try compiler.compile(text, baseURI: baseURI)
    limits = options.limits
  }

  /// What of a value does not fit, the first that was found; nil where it fits.
  /// - Parameters:
  ///   - index: the value's, on the tape.
  ///   - bytes: those that were read.
  package func validate(
    _ tape: JSONTape, at index: Int = 0, in bytes: UnsafeRawBufferPointer
  ) -> Violation? {
    tape.values.withUnsafeBufferPointer { values in
      var run = SchemaRun(
        program, limits, JSONPlace(values: values, bytes: bytes), at: index, maximum: 1)
      let fits = run.evaluate(0, index, -1)
      return fits && run.stopped == nil ? nil : run.violations().first
    }
  }

  /// What of a value does not fit, up to so many things.
  package func violations(
    of tape: JSONTape, at index: Int = 0, in bytes: UnsafeRawBufferPointer, limit: Int
  ) -> [Violation] {
    tape.values.withUnsafeBufferPointer { values in
      let place = JSONPlace(values: values, bytes: bytes)
      var run = SchemaRun(program, limits, place, at: index, maximum: max(1, limit))
      _ = run.evaluate(0, index, -1)
      return run.violations()
    }
  }
}
