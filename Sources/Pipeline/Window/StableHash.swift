/// A 64-bit hash that is the same in every process and for ever: stored state holds such hashes.
///
/// FNV-1a (draft-eastlake-fnv) and the last step of SplitMix64, for FNV leaves the upper bits of short texts alike.
/// Two texts of one hash can be made on purpose, so nothing that must not fail rests on it.
enum StableHash {
  static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    hash = (hash ^ (hash >> 30)) &* 0xBF58_476D_1CE4_E5B9
    hash = (hash ^ (hash >> 27)) &* 0x94D0_49BB_1331_11EB
    return hash ^ (hash >> 31)
  }
}
