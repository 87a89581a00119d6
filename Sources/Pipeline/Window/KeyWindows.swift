/// One window of one key.
struct OpenWindow: Sendable, Hashable {
  /// Of a session the time of its first reading.
  var start: Int64
  /// Of a session the time of its last reading; otherwise `start`.
  var last: Int64
  /// Readings.
  var count: Int64 = 0
  /// Where in the log the first and the last of its readings stand.
  var offsets = OffsetSpan()
  var accumulators: [Accumulator]
  var series: [SampleSeries]
  var revision: UInt32 = 0
  /// Values that its series could not put into order.
  var unordered: UInt32 = 0
  /// Its result was given.
  var isClosed = false
  /// It is closed and has a correction to give.
  var isDirty = false
  /// A window of its time was closed early before it was opened.
  var isPartial = false

  init(start: Int64, plan: WindowPlan) {
    self.start = start
    last = start
    accumulators = plan.accumulators
    series = plan.seriesInputs.map { _ in SampleSeries() }
  }

  mutating func add(_ reading: WindowReading, plan: WindowPlan, settled: Int64) {
    count += 1
    offsets.add(reading.offset)
    for index in accumulators.indices {
      accumulators[index].add(reading.inputs[plan.accumulatorInputs[index]], at: reading.time)
    }
    for index in series.indices {
      guard let value = reading.inputs[plan.seriesInputs[index]].number else { continue }
      if !series[index].add(SampleSeries.Sample(time: reading.time, value: value), settled: settled) {
        unordered = unordered &+ (unordered == .max ? 0 : 1)
      }
    }
  }

  /// Takes in a later session.
  mutating func merge(_ later: OpenWindow) {
    last = later.last
    count = saturating(count, plus: later.count)
    offsets.add(later.offsets)
    for index in accumulators.indices { accumulators[index].merge(later.accumulators[index]) }
    for index in series.indices { series[index].merge(later.series[index]) }
    let (sum, overflow) = unordered.addingReportingOverflow(later.unordered)
    unordered = overflow ? .max : sum
    isPartial = isPartial || later.isPartial
  }
}

/// A reading as windows take it.
struct WindowReading {
  var time: Int64
  var offset: Int64
  var inputs: UnsafeBufferPointer<WindowInput>
}

/// A stretch of the log, both ends included; empty before the first.
struct OffsetSpan: Sendable, Hashable {
  private(set) var first = Int64.max
  private(set) var last = Int64.min

  mutating func add(_ offset: Int64) {
    first = min(first, offset)
    last = max(last, offset)
  }

  mutating func add(_ other: OffsetSpan) {
    first = min(first, other.first)
    last = max(last, other.last)
  }

  init() {}

  /// Of a window, which has a reading: the first offset, signed, and how many lie behind it.
  init?(from decoder: inout StateDecoder) {
    guard let first = decoder.signed(), first >= 0, let behind = decoder.counter() else { return nil }
    let (last, overflow) = first.addingReportingOverflow(behind)
    guard !overflow else { return nil }
    (self.first, self.last) = (first, last)
  }
}

/// Up to where windows are closed.
struct WindowHorizon: Sendable, Hashable {
  /// Windows that end by this time are closed.
  var closed: Int64 = .min
  /// The latest end of a window that was closed early: one of its time opened later has not all its readings.
  var partial: Int64 = .min

  /// For windows under other rules: what is closed stays closed, and one that begins before the last of the old
  /// windows ended has not all its readings, for some of them are in those.
  func takenOver(by plan: WindowPlan) -> WindowHorizon {
    let seam = max(closed, partial)
    guard seam > .min else { return self }
    return WindowHorizon(closed: closed, partial: saturating(seam, plus: plan.settings.length - 1))
  }
}

/// The windows of one key.
struct KeyWindows: StateValue {
  /// A device whose clock runs wild must not fill the row of its key; a window a minute over two days of lateness is
  /// fewer.
  static let maximumWindows = 4_096

  /// In the order of their starts, which differ.
  private(set) var windows: [OpenWindow] = []
  /// The deadline under which the key stands in the queue; `.max` where it does not. Not stored.
  var queued: Int64 = .max

  init() {}

  /// Where the first of their readings stands in the log; `.max` for none.
  var firstOffset: Int64 { windows.reduce(.max) { min($0, $1.offsets.first) } }

  // MARK: Readings

  /// - Parameter room: how many windows may be opened.
  /// - Returns: the earliest deadline of the windows that were opened or now have a correction; `.max` for none.
  mutating func add(
    _ reading: WindowReading, plan: WindowPlan, horizon: WindowHorizon, room: Int, _ placement: inout WindowPlacement
  ) -> Int64 {
    let settled = saturating(horizon.closed, minus: plan.settings.correctFor)
    if plan.isSession {
      return addToSession(reading, plan, horizon, room, settled, &placement)
    }
    let time = reading.time
    let step = plan.step
    let length = plan.settings.length
    let newest = floorDivided(time, by: step) * step
    var start = newest - (newest - (time - length) - 1) / step * step
    var deadline = Int64.max
    var room = room
    while start <= newest {
      defer { start += step }
      let end = start + length
      guard end + plan.settings.correctFor > horizon.closed else {
        placement.missed += 1
        continue
      }
      var index = place(of: start)
      if index == windows.count || windows[index].start != start {
        guard room > 0, windows.count < KeyWindows.maximumWindows else {
          placement.refused += 1
          continue
        }
        room -= 1
        open(start, end: end, at: &index, plan, horizon)
        deadline = min(deadline, end)
      }
      windows[index].add(reading, plan: plan, settled: settled)
      if book(index, &placement) { deadline = .min }
    }
    return deadline
  }

  private mutating func addToSession(
    _ reading: WindowReading, _ plan: WindowPlan, _ horizon: WindowHorizon, _ room: Int, _ settled: Int64,
    _ placement: inout WindowPlacement
  ) -> Int64 {
    let time = reading.time
    let gap = plan.settings.length
    switch session(for: time, plan, horizon) {
    case .none:
      placement.missed += 1
      return .max
    case .new:
      guard room > 0, windows.count < KeyWindows.maximumWindows else {
        placement.refused += 1
        return .max
      }
      var index = place(of: time)
      open(time, end: time + gap, at: &index, plan, horizon)
      windows[index].add(reading, plan: plan, settled: settled)
      placement.taken += 1
      return time + gap
    case .existing(let index, let joins):
      windows[index].add(reading, plan: plan, settled: settled)
      windows[index].start = min(windows[index].start, time)
      windows[index].last = max(windows[index].last, time)
      if let joins {
        let later = windows.remove(at: joins)
        windows[index].merge(later)
      }
      return book(index, &placement) ? .min : .max
    }
  }

  /// Where a reading goes among sessions.
  enum SessionPlace: Equatable {
    /// It came too late.
    case none
    case new
    /// Into this one, which it may join with that one.
    case existing(Int, joins: Int?)
  }

  /// A session whose result was given keeps its bounds, for they are its name: a late reading corrects it only where
  /// it lies within them. It is late where a session of it alone would be closed; then it does not move the
  /// beginning of an open session either.
  func session(for time: Int64, _ plan: WindowPlan, _ horizon: WindowHorizon) -> SessionPlace {
    let gap = plan.settings.length
    let isLate = time + gap <= horizon.closed
    // The first session that begins after the reading. Sessions of one state do not overlap, and closed ones lie
    // before open ones.
    var next = place(of: time)
    if next < windows.count, windows[next].start == time { next += 1 }
    var before: Int?
    if next > 0 {
      let session = windows[next - 1]
      if session.isClosed {
        if time <= session.last { return .existing(next - 1, joins: nil) }
      } else if time < session.last + gap {
        before = next - 1
      }
    }
    var after: Int?
    if next < windows.count, !windows[next].isClosed, windows[next].start < time + gap { after = next }
    if let before { return .existing(before, joins: after) }
    if isLate { return .none }
    return after.map { .existing($0, joins: nil) } ?? .new
  }

  private mutating func open(
    _ start: Int64, end: Int64, at index: inout Int, _ plan: WindowPlan, _ horizon: WindowHorizon
  ) {
    var window = OpenWindow(start: start, plan: plan)
    window.isClosed = end <= horizon.closed
    window.isPartial = end <= horizon.partial
    if windows.isEmpty { windows = [window] } else { windows.insert(window, at: index) }
  }

  /// - Returns: whether the window has a correction to give.
  private mutating func book(_ index: Int, _ placement: inout WindowPlacement) -> Bool {
    guard windows[index].isClosed else {
      placement.taken += 1
      return false
    }
    placement.corrected += 1
    windows[index].isDirty = true
    return true
  }

  /// The first window that does not begin before `start`.
  private func place(of start: Int64) -> Int {
    // Almost always the last one.
    var high = windows.count
    if high > 0, windows[high - 1].start < start { return high }
    if high > 0, windows[high - 1].start == start { return high - 1 }
    var low = 0
    while low < high {
      let middle = (low + high) / 2
      if windows[middle].start < start { low = middle + 1 } else { high = middle }
    }
    return low
  }

  // MARK: Closing

  /// Gives the results that are due and forgets the windows that are done with.
  mutating func close(key: [UInt8], plan: WindowPlan, horizon: WindowHorizon, _ results: inout [WindowResult]) {
    for index in windows.indices {
      if plan.deadline(windows[index]) <= horizon.closed, let result = give(index, key, plan, early: false) {
        results.append(result)
      }
    }
    windows.removeAll { $0.isClosed && plan.end($0) + plan.settings.correctFor <= horizon.closed }
  }

  /// Takes out the window that is due next, however early.
  /// - Returns: its end, where that was early.
  mutating func closeNext(key: [UInt8], plan: WindowPlan, _ results: inout [WindowResult]) -> Int64? {
    guard
      let index = windows.indices.min(by: { plan.deadline(windows[$0]) < plan.deadline(windows[$1]) })
    else { return nil }
    let isEarly = !windows[index].isClosed
    if let result = give(index, key, plan, early: true) { results.append(result) }
    let window = windows.remove(at: index)
    return isEarly ? plan.end(window) : nil
  }

  private mutating func give(_ index: Int, _ key: [UInt8], _ plan: WindowPlan, early: Bool) -> WindowResult? {
    if windows[index].isDirty {
      windows[index].isDirty = false
      windows[index].revision &+= 1
      return plan.result(windows[index], key: key, .corrected)
    }
    guard !windows[index].isClosed else { return nil }
    windows[index].isClosed = true
    return plan.result(windows[index], key: key, early || windows[index].isPartial ? .early : .complete)
  }

  /// When something is to be done about the first of the windows; `.max` where there is none.
  func nextDeadline(_ plan: WindowPlan) -> Int64 {
    windows.reduce(.max) { min($0, plan.deadline($1)) }
  }

  // MARK: Stored form

  private enum Flag {
    static let closed: UInt8 = 1
    static let dirty: UInt8 = 2
    static let partial: UInt8 = 4
    static let revised: UInt8 = 8
    static let unordered: UInt8 = 16
    static let all: UInt8 = 31
  }

  func encode(to encoder: inout StateEncoder, layout plan: WindowPlan) {
    encoder.put(unsigned: UInt64(windows.count))
    for window in windows {
      encoder.put(signed: floorDivided(window.start, by: plan.step))
      if plan.isSession { encoder.put(signed: window.last - window.start) }
      encoder.put(
        (window.isClosed ? Flag.closed : 0) | (window.isDirty ? Flag.dirty : 0)
          | (window.isPartial ? Flag.partial : 0) | (window.revision > 0 ? Flag.revised : 0)
          | (window.unordered > 0 ? Flag.unordered : 0))
      encoder.put(unsigned: UInt64(window.count))
      encoder.put(signed: window.offsets.first)
      encoder.put(unsigned: UInt64(window.offsets.last - window.offsets.first))
      if window.revision > 0 { encoder.put(unsigned: UInt64(window.revision)) }
      if window.unordered > 0 { encoder.put(unsigned: UInt64(window.unordered)) }
      for accumulator in window.accumulators { accumulator.encode(to: &encoder) }
      for series in window.series { series.encode(to: &encoder) }
    }
  }

  init?(from decoder: inout StateDecoder, layout plan: WindowPlan) {
    guard let count = decoder.count(of: 3, atMost: KeyWindows.maximumWindows), count > 0 else { return nil }
    windows.reserveCapacity(count)
    for _ in 0..<count {
      guard let window = KeyWindows.window(from: &decoder, plan) else { return nil }
      if let before = windows.last, before.start >= window.start { return nil }
      windows.append(window)
    }
    queued = nextDeadline(plan)
  }

  private static func window(from decoder: inout StateDecoder, _ plan: WindowPlan) -> OpenWindow? {
    guard let steps = decoder.signed() else { return nil }
    let (start, overflow) = steps.multipliedReportingOverflow(by: plan.step)
    // A window may begin before the first time that it takes.
    guard !overflow, start >= WindowPlan.times.lowerBound - plan.settings.length, start <= WindowPlan.times.upperBound
    else { return nil }
    var window = OpenWindow(start: start, plan: plan)
    if plan.isSession {
      guard let length = decoder.signed(), length >= 0 else { return nil }
      let (last, overflow) = start.addingReportingOverflow(length)
      guard !overflow, last <= WindowPlan.times.upperBound else { return nil }
      window.last = last
    }
    guard let flags = decoder.byte(), flags & ~Flag.all == 0 else { return nil }
    window.isClosed = flags & Flag.closed != 0
    window.isDirty = flags & Flag.dirty != 0
    window.isPartial = flags & Flag.partial != 0
    guard !window.isDirty || window.isClosed else { return nil }
    guard let count = decoder.counter(), (1...NeumaierSum.maximumCount).contains(count) else { return nil }
    window.count = count
    guard let offsets = OffsetSpan(from: &decoder) else { return nil }
    window.offsets = offsets
    if flags & Flag.revised != 0 {
      guard let revision = decoder.unsigned().flatMap({ UInt32(exactly: $0) }), revision > 0 else { return nil }
      window.revision = revision
    }
    if flags & Flag.unordered != 0 {
      guard let unordered = decoder.unsigned().flatMap({ UInt32(exactly: $0) }), unordered > 0 else { return nil }
      window.unordered = unordered
    }
    for index in window.accumulators.indices {
      guard let accumulator = window.accumulators[index].decoded(from: &decoder) else { return nil }
      window.accumulators[index] = accumulator
    }
    for index in window.series.indices {
      guard let series = SampleSeries(from: &decoder) else { return nil }
      window.series[index] = series
    }
    return window
  }
}
