internal import Delivery
internal import Logging
internal import Synchronization
internal import Telemetry

/// The uplinks that run, each with its driver; follows the configuration.
final class Uplinks: Sendable {
  private let outbox: any Outbox
  private let logger: Logger
  private let meters: StageMeters
  private let drivers = Mutex<[String: UplinkDriver]>([:])
  private let pauses: PausedUplinks

  /// - Parameter spool: the folder, in which is kept which of them are paused.
  init(outbox: any Outbox, spool: String, logger: Logger, meters: StageMeters) {
    self.outbox = outbox
    self.logger = logger
    self.meters = meters
    pauses = PausedUplinks(spool: spool, logger: logger)
  }

  /// Those that an operator has stopped, by name.
  var paused: [PausedUplinks.Pause] { pauses.all }

  /// Stops an uplink, also over restarts, or lets it go on.
  /// - Parameter pause: nil: it goes on.
  /// - Returns: false where there is no such uplink. One that has left the configuration while it was paused can go on
  ///   all the same: its pause waits for it to come back, and would have no end otherwise.
  func pause(_ name: String, _ pause: PausedUplinks.Pause?) async throws -> Bool {
    let driver = drivers.withLock { $0[name] }
    guard driver != nil || pause == nil && pauses.contains(name) else { return false }
    try await pauses.set(name, pause)
    await driver?.pause(pause != nil)
    return true
  }

  /// Starts, changes and stops drivers until they are what the configuration says.
  func apply(_ settings: [UplinkSettings]) async {
    let wanted = Set(settings.map(\.name))
    let dropped = drivers.withLock { drivers in
      let names = drivers.keys.filter { !wanted.contains($0) }
      return names.compactMap { drivers.removeValue(forKey: $0) }
    }
    for driver in dropped { await driver.stop() }
    for setting in settings {
      if let driver = drivers.withLock({ $0[setting.name] }) {
        await driver.reload(setting)
      } else {
        let driver = UplinkDriver(
          settings: setting, outbox: outbox, logger: logger, observer: meters, seed: .random(in: 0 ... .max),
          now: SystemClock.monotonic,
          make: { [logger, life = meters.life] in Uplinks.make($0, logger: logger, life: life) })
        if pauses.contains(setting.name) { await driver.pause(true) }
        await driver.start()
        drivers.withLock { $0[setting.name] = driver }
      }
    }
  }

  /// New batches are sealed.
  func wake() {
    for driver in drivers.withLock({ Array($0.values) }) { driver.wake() }
  }

  /// Delivers what is there until `deadline` (monotonic nanoseconds), and ends.
  func stop(deadline: Int64) async {
    let all = drivers.withLock { drivers in
      defer { drivers = [:] }
      return Array(drivers.values)
    }
    await withTaskGroup(of: Void.self) { group in
      for driver in all {
        group.addTask {
          await driver.drain(until: deadline)
          await driver.stop()
        }
      }
    }
  }

  /// By name.
  func status() async -> [UplinkStatus] {
    var all: [UplinkStatus] = []
    for (_, driver) in drivers.withLock({ $0.sorted { $0.key < $1.key } }) {
      all.append(await driver.status())
    }
    return all
  }

  private static func make(_ settings: UplinkSettings, logger: Logger, life: UInt64) -> any Uplink {
    switch settings.kind {
    case .http(let http):
      HTTPUplink(
        settings: http, concurrency: settings.concurrency, version: Version.current, life: life,
        wall: SystemClock.wall)
    case .file(let file): FileUplink(settings: file, logger: logger, wall: SystemClock.wall)
    }
  }
}
