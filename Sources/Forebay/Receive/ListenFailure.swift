import Glibc
import NIOCore

extension ListenAddress {
  /// Why it cannot be listened on and what to do about it, to stand behind the address.
  ///
  /// - Parameters:
  ///   - error: what NIO said when it bound the socket, whose text is for programmers.
  ///   - option: where another address is named: `--listen`, `status.listen`.
  func obstacle(_ error: any Error, option: String) -> String {
    switch error {
    case let error as IOError:
      switch error.errnoCode {
      case EADDRINUSE: "is taken by another program: name another with \(option)"
      case EACCES, EPERM:
        port < 1024
          ? "cannot be listened on: ports below 1024 are not for this user; name another with \(option)"
          : "cannot be listened on: this user may not; name another with \(option)"
      case EADDRNOTAVAIL: "is no address of this machine: name one that is with \(option)"
      case EAFNOSUPPORT: "cannot be listened on: this machine has no IPv6; name another with \(option)"
      case let code: "cannot be listened on: \(String(cString: strerror(code))); \(option) names another"
      }
    case is SocketAddressError, is SocketAddressError.UnknownHost:
      "cannot be listened on: there is no such name; name another with \(option)"
    default: "cannot be listened on: \(Output.plain("\(error)", limit: 200)); \(option) names another"
    }
  }
}
