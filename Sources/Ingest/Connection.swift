import CMosquitto
import Glibc
import Telemetry

/// One connection to a broker: a libmosquitto handle under an external loop, used for one connection
/// and then destroyed.
///
/// Acknowledgements are queued by the library *before* it calls the message callback, and leave when
/// ``write()`` is called. That is the whole secret of acknowledging after the commit; so nothing but the
/// intake loop calls it, and only while nothing of this source is staged.
///
/// `@unchecked Sendable`: the handle is made by a connector thread, given away through a mutex, and
/// from then on used by the intake thread alone; at no time do two threads know it.
final class Connection: @unchecked Sendable {
  /// What the library reported through its callbacks, to be dealt with after the call that caused it.
  struct Events {
    struct Acceptance {
      var code: Int
      var sessionPresent: Bool
      /// Seconds, where the broker chose another than ours.
      var keepalive: Int?
    }
    var acceptance: Acceptance?
    /// Reason code of a DISCONNECT from the broker.
    var disconnected: Int?
    /// Identifier and reason codes.
    var subscribed: [(mid: Int32, codes: [Int32])] = []
    var unsubscribed: [Int32] = []
    /// PUBLISH packets since the last look, staged or not.
    var publishes = 0
    /// `$SYS` value.
    var droppedByBroker: Int64?
    var ignoredRetained: Int64 = 0
    var oversized: Int64 = 0
    /// Messages recognised as sent again: acknowledged and not staged.
    var redelivered: Int64 = 0
    /// A message of a resumed session came without a line of the library's log that announces it.
    var isUnannounced = false
  }

  /// `$SYS` topic of mosquitto with the number of messages that it dropped.
  static let droppedTopic = "$SYS/broker/publish/messages/dropped"
  /// The largest packet that is no PUBLISH: all those a broker sends are small.
  static let controlLimit = 16_384
  let handle: OpaquePointer
  let settings: SourceSettings
  /// What was shown to the broker with the user's name.
  let password: Secret?
  var events = Events()
  /// Where messages go; set when the intake thread takes the connection over.
  var sink: MessageSink?
  /// Lines that the library logged as errors until the broker accepted us.
  var errorLines: [String] = []
  /// What OpenSSL thought of the broker's certificate when it was last asked.
  var verdict = TLSVerdict()
  private(set) var isAccepted = false
  /// What the broker may send again, if it resumes the session.
  var inDoubt = InDoubtSet()
  /// The broker has resumed the session and everything it sent at QoS 1 so far was sent again. The
  /// library logs to us until this ends.
  var isResuming = false
  /// What the library's log said last: of the message that it is about to give us.
  var announcement: PublishLine?

  /// A PUBLISH has been read in part: the next bytes do not begin with a header.
  var insidePublish = false
  /// Bytes at the beginning of `peeked` that the library has read already, of a small packet that is not whole.
  var takenPart = 0
  /// Bytes of such a packet that are still in the socket, and since when (monotonic nanoseconds).
  var waitingPart: (bytes: Int, since: Int64)?
  /// A packet that is too large, while it is passed over.
  var skipped: OversizePublish?
  /// The library stopped while TLS may still hold decrypted bytes: read without asking the socket.
  var mayHoldDecrypted = false
  /// `MSG_PEEK` shows packets here before the library reads them.
  let peeked = UnsafeMutableRawBufferPointer.allocate(byteCount: 16_384, alignment: 1)

  init(handle: OpaquePointer, settings: SourceSettings, password: Secret? = nil) {
    self.handle = handle
    self.settings = settings
    self.password = password
    mosquitto_user_data_set(handle, Unmanaged.passUnretained(self).toOpaque())
    ConnectionCallbacks.set(on: handle)
  }

  /// Closes the socket. Nothing that the library has queued leaves.
  deinit {
    mosquitto_destroy(handle)
    peeked.deallocate()
  }

  /// -1 once the library has closed it.
  var socket: Int32 { mosquitto_socket(handle) }
  var isTLS: Bool { settings.tls != nil }
  var wantsWrite: Bool { mosquitto_want_write(handle) }

  /// Bytes above the limit that a packet may have. Brokers that were told it count differently: mosquitto 2.0 leaves
  /// out the first byte and sends packets of one byte too many.
  static let tolerance = 256

  /// The largest PUBLISH that is taken. Larger ones come from brokers that cannot be told (MQTT 3.1.1): they are
  /// acknowledged, counted and not taken, much as an MQTT 5 broker would have done.
  var publishLimit: Int { Int(settings.maximumPacketSize) + Connection.tolerance }

  /// Only while nothing of this source is staged: the acknowledgements of all that was read leave.
  func write() throws(SourceFault) {
    let code = mosquitto_loop_write(handle, 1)
    if code != 0 { throw fault(code, errno) }
  }

  /// Keepalive: queues a PINGREQ when it is due.
  func keepAlive() throws(SourceFault) {
    let code = mosquitto_loop_misc(handle)
    if code != 0 { throw fault(code, errno) }
  }

  func subscribe(_ filters: [String], qos: Int32, retain: RetainHandling?) throws(SourceFault) -> Int32 {
    var mid: Int32 = 0
    var names = filters.map { strdup($0) }
    defer { names.forEach { free($0) } }
    let options = settings.version == .mqtt5 ? Int32(retain?.rawValue ?? 0) : 0
    let code = mosquitto_subscribe_multiple(
      handle, &mid, Int32(names.count), &names, qos, options, nil)
    if code != 0 { throw fault(code, errno) }
    return mid
  }

  func unsubscribe(_ filters: [String]) throws(SourceFault) -> Int32 {
    var mid: Int32 = 0
    var names = filters.map { strdup($0) }
    defer { names.forEach { free($0) } }
    let code = mosquitto_unsubscribe_multiple(handle, &mid, Int32(names.count), &names, nil)
    if code != 0 { throw fault(code, errno) }
    return mid
  }

  /// Asks OpenSSL about the broker's certificate: once the call has failed, it is too late.
  func judgeCertificate() {
    if isTLS, !isAccepted, socket >= 0 { verdict = TLSVerdict(handle) }
  }

  /// Takes the events that were collected.
  func takeEvents() -> Events {
    let taken = events
    events = Events()
    return taken
  }

  /// The broker has accepted us. The library formats its log for every message, which would cost more
  /// than everything else: it is listened to until then, and until what is sent again has come.
  func accept() {
    isAccepted = true
    if !isResuming { endResumption() }
  }

  /// Nothing that comes from here on is a redelivery.
  func endResumption() {
    isResuming = false
    inDoubt = InDoubtSet()
    announcement = nil
    if isAccepted { mosquitto_log_callback_set(handle, nil) }
  }

  /// What a result code of the library means.
  /// - Parameter number: `errno` right after the call.
  func fault(_ code: Int32, _ number: Int32) -> SourceFault {
    switch mosq_err_t(rawValue: code) {
    case MOSQ_ERR_TLS, MOSQ_ERR_TLS_HANDSHAKE: return tlsFault
    case MOSQ_ERR_ERRNO: return lost(String(cString: strerror(number)))
    case MOSQ_ERR_CONN_LOST, MOSQ_ERR_NO_CONN: return lost("closed by the broker")
    case MOSQ_ERR_KEEPALIVE: return .keepalive
    case MOSQ_ERR_PROTOCOL, MOSQ_ERR_MALFORMED_PACKET, MOSQ_ERR_MALFORMED_UTF8,
      MOSQ_ERR_DUPLICATE_PROPERTY, MOSQ_ERR_PAYLOAD_SIZE:
      return .protocolViolation(detail: String(cString: mosquitto_strerror(code)))
    case MOSQ_ERR_OVERSIZE_PACKET:
      return .settings(detail: "a SUBSCRIBE is larger than the broker takes")
    default: return .settings(detail: String(cString: mosquitto_strerror(code)))
    }
  }

  /// A broker that refuses our certificate breaks off as well, and with TLS 1.3 only after the handshake
  /// has ended for us.
  func lost(_ detail: String) -> SourceFault {
    guard isTLS, !isAccepted, !errorLines.isEmpty || verdict.cause == .clientCertificate else {
      return .connectionLost(detail: detail)
    }
    return .tls(verdict.cause, detail: errorLines.last ?? detail)
  }

  private var tlsFault: SourceFault {
    .tls(verdict.cause, detail: errorLines.last ?? "no detail")
  }
}
