internal import HTTPTypes
internal import NIOCore
internal import NIOHTTPTypes

/// Closes a connection that takes its time: who trickles a request, does not read the answer or keeps silent holds
/// one of the few places.
///
/// It stands behind the HTTP decoder; what TLS and the decoder wait for counts against the same time. It belongs to
/// one channel and is used on its event loop only.
final class ConnectionDeadline: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  typealias Limits = StatusServerSettings.Limits

  private let limits: Limits
  private var deadline = NIODeadline.distantFuture
  private var timer: Scheduled<Void>?
  /// When the timer fires.
  private var due = NIODeadline.distantFuture
  /// Requests that have begun and whose answers have not ended.
  private var open = 0
  private var isStreaming = false

  init(_ limits: Limits) { self.limits = limits }

  func handlerAdded(context: ChannelHandlerContext) { arm(limits.head, context) }

  func handlerRemoved(context: ChannelHandlerContext) {
    timer?.cancel()
    timer = nil
  }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    timer = nil
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .head = unwrapInboundIn(data) {
      open += 1
      if open == 1 { arm(limits.answer, context) }
    }
    context.fireChannelRead(data)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    // Who closes its side while it listens to events has gone: it has nothing more to ask. Others may wait for answers.
    if isStreaming, case .inputClosed? = event as? ChannelEvent { context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let isEnd: Bool
    switch unwrapOutboundIn(data) {
    case .head(let head):
      isStreaming = head.headerFields[.contentType] == EventStream.contentType
      isEnd = false
    case .body: isEnd = false
    case .end: isEnd = true
    }
    guard isStreaming || isEnd else { return context.write(data, promise: promise) }
    let written = promise ?? context.eventLoop.makePromise(of: Void.self)
    context.write(data, promise: written)
    written.futureResult.assumeIsolated().whenSuccess { self.didWrite(isEnd: isEnd, context) }
  }

  /// The system has taken a piece of a stream, or the end of an answer.
  private func didWrite(isEnd: Bool, _ context: ChannelHandlerContext) {
    guard isEnd else { return arm(limits.stream, context) }
    isStreaming = false
    open = max(0, open - 1)
    arm(open > 0 ? limits.answer : limits.idle, context)
  }

  private func arm(_ time: Int64, _ context: ChannelHandlerContext) {
    deadline = .now() + .nanoseconds(time)
    // A later end is found when the timer fires; an earlier one needs another timer.
    if timer == nil || deadline < due {
      timer?.cancel()
      schedule(context)
    }
  }

  private func schedule(_ context: ChannelHandlerContext) {
    due = deadline
    timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.fire(context) }
  }

  private func fire(_ context: ChannelHandlerContext) {
    timer = nil
    guard deadline <= .now() else { return schedule(context) }
    context.close(promise: nil)
  }
}

@available(*, unavailable)
extension ConnectionDeadline: Sendable {}
