/// What a rate or a time-weighted average needs: the values of a window in the order of their event times.
///
/// Values that may still be preceded by others wait, in order; older ones are folded into a few numbers. A value
/// older than the last folded one came too late to be put into order: it is left out, and said to be.
struct SampleSeries: Sendable, Hashable {
  struct Sample: Sendable, Hashable {
    var time: Int64
    var value: Double
  }

  /// The values folded so far.
  struct Fold: Sendable, Hashable {
    let first: Int64
    var last: Sample
    /// What a counter grew by from the first to the last.
    var growth = NeumaierSum()
    /// The sum of each value times the nanoseconds until the next.
    var area = NeumaierSum()

    init(_ sample: Sample) {
      first = sample.time
      last = sample
    }

    mutating func append(_ sample: Sample) {
      // A counter that shows less than before began at zero in between.
      growth.add(sample.value >= last.value ? sample.value - last.value : sample.value)
      area.add(last.value * Double(saturating(sample.time, minus: last.time)))
      last = sample
    }

    /// Per second.
    var rate: Double? {
      let time = saturating(last.time, minus: first)
      return time > 0 ? growth.value / (Double(time) / 1e9) : nil
    }

    /// - Parameter end: until when the last value holds.
    func average(until end: Int64) -> Double {
      let time = saturating(end, minus: first)
      guard time > 0 else { return last.value }
      var area = area
      area.add(last.value * Double(max(0, saturating(end, minus: last.time))))
      return area.value / Double(time)
    }
  }

  /// Values that wait at most; 4 KiB. Beyond, the older half is folded before its time.
  static let maximumWaiting = 256

  private var fold: Fold?
  /// In the order of time, and of arrival where times are equal.
  private var waiting: [Sample] = []

  init() {}

  /// - Parameter settled: values older than this are not preceded by others any more.
  /// - Returns: false where the value came too late to be put into order.
  mutating func add(_ sample: Sample, settled: Int64) -> Bool {
    settle(before: settled)
    if let fold, sample.time < fold.last.time { return false }
    var place = waiting.count
    while place > 0, waiting[place - 1].time > sample.time { place -= 1 }
    waiting.insert(sample, at: place)
    if waiting.count > SampleSeries.maximumWaiting { take(SampleSeries.maximumWaiting / 2) }
    return true
  }

  /// Appends a series whose values are all later.
  mutating func merge(_ later: SampleSeries) {
    guard let next = later.fold else {
      waiting += later.waiting
      if waiting.count > SampleSeries.maximumWaiting { take(waiting.count - SampleSeries.maximumWaiting / 2) }
      return
    }
    take(waiting.count)
    waiting = later.waiting
    guard var sum = fold else {
      fold = next
      firstValue = later.firstValue
      return
    }
    sum.append(Sample(time: next.first, value: later.firstValue))
    sum.growth.merge(next.growth)
    sum.area.merge(next.area)
    sum.last = next.last
    fold = sum
  }

  /// All values, folded; nil without values.
  var folded: Fold? {
    var copy = self
    copy.take(copy.waiting.count)
    return copy.fold
  }

  /// The first value that was folded.
  private var firstValue: Double = 0

  private mutating func settle(before time: Int64) {
    var count = 0
    while count < waiting.count, waiting[count].time < time { count += 1 }
    take(count)
  }

  /// Folds the first of those that wait.
  private mutating func take(_ count: Int) {
    guard count > 0 else { return }
    for sample in waiting[..<count] {
      if fold == nil {
        fold = Fold(sample)
        firstValue = sample.value
      } else {
        fold?.append(sample)
      }
    }
    waiting.removeFirst(count)
  }

  // MARK: Stored form

  func encode(to encoder: inout StateEncoder) {
    encoder.put(fold == nil ? 0 : 1)
    if let fold {
      encoder.put(signed: fold.first)
      encoder.put(double: firstValue)
      encoder.put(signed: saturating(fold.last.time, minus: fold.first))
      encoder.put(double: fold.last.value)
      fold.growth.encode(to: &encoder)
      fold.area.encode(to: &encoder)
    }
    encoder.put(unsigned: UInt64(waiting.count))
    var last: Int64 = fold?.last.time ?? 0
    for sample in waiting {
      encoder.put(signed: sample.time &- last)
      encoder.put(double: sample.value)
      last = sample.time
    }
  }

  init?(from decoder: inout StateDecoder) {
    guard let isFolded = decoder.flag() else { return nil }
    var last: Int64 = 0
    if isFolded {
      guard let first = decoder.signed(), let firstValue = decoder.double(), firstValue.isFinite,
        let length = decoder.signed(), length >= 0, let value = decoder.double(), value.isFinite,
        let growth = NeumaierSum(from: &decoder), let area = NeumaierSum(from: &decoder)
      else { return nil }
      let (time, overflow) = first.addingReportingOverflow(length)
      guard !overflow else { return nil }
      var fold = Fold(Sample(time: first, value: firstValue))
      fold.last = Sample(time: time, value: value)
      fold.growth = growth
      fold.area = area
      self.fold = fold
      self.firstValue = firstValue
      last = time
    }
    guard let count = decoder.count(of: 2, atMost: SampleSeries.maximumWaiting) else { return nil }
    for index in 0..<count {
      guard let step = decoder.signed(), let value = decoder.double(), value.isFinite else { return nil }
      let (time, overflow) = last.addingReportingOverflow(step)
      guard !overflow, index == 0 && !isFolded || step >= 0 else { return nil }
      waiting.append(Sample(time: time, value: value))
      last = time
    }
  }
}
