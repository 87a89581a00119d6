import Testing

/// What uses sockets, disks and other processes: one test after the other, because they measure time.
@Suite("Delivery over real sockets and disks", .serialized)
enum RealIO {}
