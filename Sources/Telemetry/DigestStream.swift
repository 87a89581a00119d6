internal import COpenSSL

/// A SHA-256 digest of bytes that come in pieces. Used by one thread.
package final class DigestStream {
  private let context: OpaquePointer

  package init() {
    // As in ``Digest``: neither failure leaves a way to go on.
    guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
      preconditionFailure("OpenSSL has no SHA-256")
    }
    self.context = context
  }

  deinit { EVP_MD_CTX_free(context) }

  package func add(_ bytes: some Sequence<UInt8>) {
    let taken: Void? = bytes.withContiguousStorageIfAvailable { add(UnsafeRawBufferPointer($0)) }
    if taken == nil { Array(bytes).withUnsafeBytes { add($0) } }
  }

  package func add(_ bytes: UnsafeRawBufferPointer) {
    precondition(EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1, "SHA-256 failed")
  }

  /// The digest of all that was added; nothing may be added any more.
  package func finish() -> Digest {
    var output = [UInt8](repeating: 0, count: Digest.byteCount)
    precondition(EVP_DigestFinal_ex(context, &output, nil) == 1, "SHA-256 failed")
    return Digest(bytes: output) ?? .zero
  }
}
