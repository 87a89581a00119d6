/// What a question to a database that cannot be asked tells of it.
enum Schema {
  /// Runs what is asked of a database at its opening: a question that cannot even be asked (a table or a
  /// column is not there) tells of damage like an answer that makes no sense.
  static func check<R>(_ body: () throws(SpoolError) -> R) throws(SpoolError) -> R {
    do throws(SpoolError) {
      return try body()
    } catch {
      var error = error
      if error.kind == .misuse {
        error.kind = .damaged
        error.hint = SpoolError.Kind.damaged.hint
      }
      throw error
    }
  }
}
