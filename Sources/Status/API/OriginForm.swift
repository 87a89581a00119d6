internal import NIOCore
internal import NIOHTTP1
internal import NIOHTTPTypesHTTP1

/// Lets targets through that are a path (the origin form, RFC 9112, section 3.2.1), which is all that is asked of a server
/// that is no proxy. Of others, `http://other.example/v1/status`, the part that names a host would be cut off behind this,
/// and `Host` would be believed, which such a target overrules: they become one that no resource has.
///
/// It stands between the HTTP decoder and what makes of its parts those that the rest works with.
final class OriginForm: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .head(var head) = unwrapInboundIn(data), !head.uri.hasPrefix("/") else {
      return context.fireChannelRead(data)
    }
    head.uri = "*"
    context.fireChannelRead(wrapInboundOut(.head(head)))
  }

  /// Into a pipeline that is complete otherwise; on the channel's event loop.
  static func install(in channel: any Channel) throws {
    let pipeline = channel.pipeline.syncOperations
    let codec = try pipeline.handler(type: HTTP1ToHTTPServerCodec.self)
    try pipeline.addHandler(OriginForm(), position: .before(codec))
  }
}

@available(*, unavailable)
extension OriginForm: Sendable {}
