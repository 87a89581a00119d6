import CMosquitto
import Glibc

/// What ended a round of reading.
enum ReadEnd {
  /// The socket has nothing more.
  case dry
  /// There may be more; others get their turn first.
  case more
  /// The group is full.
  case full
  /// Part of a small packet is there, and the rest may be on its way: look again shortly.
  case partial
  case lost(SourceFault)
}

extension Connection {
  /// Packets of one connection in one round.
  private static let packetsPerRound = 256
  /// Nanoseconds that part of a small packet is left in the socket.
  private static let patienceWithParts: Int64 = 100_000_000

  /// Reads packets until the socket is dry, the group is full or others should have their turn.
  func read() -> ReadEnd {
    isTLS ? readDecrypted() : readPlain()
  }

  /// Whether the socket itself has nothing to read; `errno` after `mosquitto_loop_read` cannot tell.
  var isDry: Bool {
    if mayHoldDecrypted { return false }
    var byte: UInt8 = 0
    return recv(socket, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT)) < 0
  }

  /// Whether the broker has sent its last byte. The bytes of a partial packet hide the end from `recv`.
  private var isClosing: Bool {
    // The first byte of `struct tcp_info` is the state; TCP_ESTABLISHED is 1.
    var state: UInt8 = 1
    var length: socklen_t = 1
    getsockopt(socket, Int32(IPPROTO_TCP), TCP_INFO, &state, &length)
    return state != 1
  }

  private func readPlain() -> ReadEnd {
    var budget = Connection.packetsPerRound
    while budget > 0 {
      if insidePublish {
        // The library takes all the socket has, up to the packet's end, and then calls back.
        if let fault = readOne() { return .lost(fault) }
        if insidePublish { return isDry ? .dry : .more }
        if isFull { return .full }
      }
      if skipped != nil {
        if let end = skip() { return end }
        budget -= 1
        continue
      }
      let room = UnsafeMutableRawBufferPointer(rebasing: peeked[takenPart...])
      let count = recv(socket, room.baseAddress, room.count, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
      guard count > 0 else {
        if count < 0, errno == EAGAIN || errno == EINTR { return .dry }
        return .lost(
          .connectionLost(
            detail: count == 0 ? "closed by the broker" : String(cString: strerror(errno))))
      }
      let scan = PacketScan(
        UnsafeRawBufferPointer(rebasing: peeked[..<(takenPart + count)]), publishLimit: publishLimit,
        controlLimit: Connection.controlLimit, hasProperties: settings.version == .mqtt5)
      if scan.packets > 0 { (takenPart, waitingPart) = (0, nil) }
      for _ in 0..<scan.packets {
        if let fault = readOne() { return .lost(fault) }
        budget -= 1
        if isFull { return .full }
      }
      switch scan.rest {
      case .nothing: break
      case .header, .control:
        if scan.packets == 0 {
          return isClosing ? .lost(lost("closed in the middle of a packet")) : readPart(count)
        }
      case .properties:
        // Behind others it is at the front of the next look.
        if scan.packets > 0 { continue }
        // The library must not read what nobody has looked at; what lies behind all that can be looked at, it may.
        if takenPart + count < peeked.count {
          return isClosing ? .lost(lost("closed in the middle of a packet")) : readPart(count)
        }
        fallthrough
      case .publish:
        (takenPart, waitingPart) = (0, nil)
        insidePublish = true
      case .tooLarge(let bytes, let limit):
        // Behind others it is at the front of the next look.
        if scan.packets > 0 { continue }
        skipped = takenPart == 0 ? OversizePublish(UnsafeRawBufferPointer(rebasing: peeked[..<count])) : nil
        waitingPart = nil
        guard skipped != nil else { return .lost(.packetTooLarge(bytes: bytes, limit: limit)) }
      case .malformed:
        return .lost(.protocolViolation(detail: "a malformed packet, or one at QoS 2"))
      }
    }
    return .more
  }

  /// Reads and drops the next bytes of a packet that is too large; at its end acknowledges it.
  ///
  /// The acknowledgement leaves at once, for nothing of the message is taken, and past the library, which knows
  /// nothing of it. It cannot come to stand within another packet: nothing is read while part of one is still to be
  /// written (``IntakeLoop``), and what the library has queued meanwhile it has not begun.
  /// - Returns: what ends the round; nil where there may be more.
  private func skip() -> ReadEnd? {
    guard var packet = skipped else { return nil }
    let count = recv(socket, peeked.baseAddress, min(peeked.count, packet.remaining), Int32(MSG_DONTWAIT))
    guard count > 0 else {
      if count < 0, errno == EAGAIN || errno == EINTR { return .dry }
      return .lost(lost(count == 0 ? "closed by the broker" : String(cString: strerror(errno))))
    }
    packet.drop(UnsafeRawBufferPointer(rebasing: peeked[..<count]))
    skipped = packet.remaining > 0 ? packet : nil
    guard packet.remaining == 0 else { return nil }
    events.oversized += 1
    guard let acknowledgement = packet.acknowledgement else { return nil }
    let sent = acknowledgement.withUnsafeBytes {
      send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
    }
    return sent == acknowledgement.count ? nil : .lost(lost("an acknowledgement could not be written"))
  }

  /// Part of a small packet: nearly always the rest is there a moment later, and is looked at together with it. When
  /// it is not, the part must not stay in the socket. The kernel counts with it the whole buffer that it came in, up
  /// to 64 KiB on loopback; that can close the receive window, and then the rest never comes: reader and broker
  /// waited for each other until the keepalive ended the connection.
  private func readPart(_ count: Int) -> ReadEnd {
    let now = monotonicNanoseconds()
    guard let part = waitingPart, part.bytes == count else {
      waitingPart = (count, now)
      return .partial
    }
    guard now - part.since >= Connection.patienceWithParts else { return .partial }
    waitingPart = nil
    let (publishes, before) = (events.publishes, bytesRead)
    if let fault = readOne() { return .lost(fault) }
    // Reading opened the window, the rest came at once, and the library has read it as well.
    if events.publishes != publishes {
      takenPart = 0
      return isFull ? .full : .more
    }
    // Otherwise what came in between was read unseen: its size was not checked, and where packets begin is lost.
    if let before, let after = bytesRead, after &- before != UInt64(count) {
      return .lost(lost("a packet came in pieces that could not be told apart"))
    }
    // What is known of the packet stays in front of what will be looked at next.
    takenPart += count
    return .dry
  }

  /// Bytes that were ever read from the socket: those that came (tcp_info) without those that are still in it.
  /// Nil where the kernel does not tell, or more come all the time.
  private var bytesRead: UInt64? {
    var last: (received: UInt64, queued: UInt64)?
    for _ in 0..<8 {
      // `struct tcp_info` of linux/tcp.h; glibc's is older and ends before tcpi_bytes_received.
      var info = [UInt64](repeating: 0, count: 17)
      var length = socklen_t(info.count * 8)
      guard getsockopt(socket, Int32(IPPROTO_TCP), TCP_INFO, &info, &length) == 0, length == info.count * 8
      else { return nil }
      let received = info[16]
      if let last, last.received == received { return received &- last.queued }
      var queued: Int32 = 0
      guard ioctl(socket, UInt(FIONREAD), &queued) == 0 else { return nil }
      last = (received, UInt64(queued))
    }
    return nil
  }

  /// TLS hides the packets, so their size is known only once the library has allocated it; but a broker
  /// behind TLS was vouched for by a configured authority.
  private func readDecrypted() -> ReadEnd {
    for _ in 0..<Connection.packetsPerRound {
      if !mayHoldDecrypted {
        var byte: UInt8 = 0
        let count = recv(
          socket, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
        if count < 0, errno == EAGAIN || errno == EINTR { return .dry }
        if count <= 0 {
          // During the handshake the library does not notice that the connection is gone.
          if let fault = readOne() { return .lost(fault) }
          return .lost(lost("closed by the broker"))
        }
      }
      mayHoldDecrypted = false
      if let fault = readOne() { return .lost(fault) }
      if isFull { return .full }
    }
    return .more
  }

  private var isFull: Bool { sink?.staging.core.isFull ?? false }

  /// Lets the library read one packet, or what there is of it.
  private func readOne() -> SourceFault? {
    let before = events.publishes
    let code = mosquitto_loop_read(handle, 1)
    let number = errno
    if events.publishes != before { insidePublish = false }
    judgeCertificate()
    if let reason = events.disconnected {
      return reason == Int(MQTT_RC_SESSION_TAKEN_OVER.rawValue) ? .takenOver : .closedByBroker(code: reason)
    }
    // A refusal makes the library fail as well, with less to say.
    if let acceptance = events.acceptance, acceptance.code != 0 {
      return .refused(code: acceptance.code, version: settings.version)
    }
    if code != 0 { return fault(code, number) }
    return socket < 0 ? lost("closed by the broker") : nil
  }

  /// Writes until nothing is left, at most until `deadline`. Whether nothing is left.
  func writeAll(until deadline: Int64) -> Bool {
    while true {
      do throws(SourceFault) { try write() } catch { return false }
      if !wantsWrite { return true }
      let remaining = deadline - monotonicNanoseconds()
      guard remaining > 0 else { return false }
      var entry = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
      if poll(&entry, 1, Int32(remaining / 1_000_000) + 1) < 0, errno != EINTR { return false }
    }
  }

  /// Says DISCONNECT when nothing else is left to say, then stops writing. What was written stays on
  /// its way: `drain` reads on until the broker has closed.
  /// - Returns: a descriptor of the socket that survives this connection; -1 where there is none.
  func finish(saying farewell: Bool, until deadline: Int64) -> Int32 {
    guard socket >= 0 else { return -1 }
    let copy = fcntl(socket, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { return -1 }
    if writeAll(until: deadline), farewell, mosquitto_disconnect_v5(handle, 0, nil) == 0 {
      _ = mosquitto_loop_write(handle, 1)
    }
    return copy
  }

  /// Ends what `finish` began, after the connections are gone. Closing a socket with unread bytes resets
  /// it, and the broker might then never read the acknowledgements before the reset.
  static func drain(_ descriptors: [Int32], until deadline: Int64) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 1)
    defer { buffer.deallocate() }
    var open = descriptors.filter { $0 >= 0 }
    for descriptor in open { shutdown(descriptor, Int32(SHUT_WR)) }
    while !open.isEmpty {
      let remaining = deadline - monotonicNanoseconds()
      guard remaining > 0 else { break }
      var entries = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      if poll(&entries, nfds_t(entries.count), Int32(remaining / 1_000_000) + 1) < 0, errno != EINTR {
        break
      }
      for entry in entries where entry.revents != 0 {
        let count = recv(entry.fd, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
        if count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR)) { continue }
        close(entry.fd)
        open.removeAll { $0 == entry.fd }
      }
    }
    for descriptor in open { close(descriptor) }
  }
}
