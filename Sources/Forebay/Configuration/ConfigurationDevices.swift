internal import Pipeline

/// `devices` of a pipeline.
extension ConfigurationValue {
  /// How many devices the view of them has; 0 for `off`.
  func devices() -> Int? { isWord("off") ? 0 : integer(in: DeviceView.limits) }
}
