import SystemSupport

/// The memory that epochs are staged in: address space for the largest there can be, and memory for twice the largest there was,
/// so that a pause seldom waits for the kernel to find some; it grows by a little at each commit, so that no beat waits for that either.
///
/// Used by one thread.
final class StagingMemory {
    /// What is there before the first epoch, in bytes.
    private static let least = 8 << 20
    /// The most that is had at once, in bytes.
    private static let step = 16 << 20

    private let mapping: Mapping
    /// Bytes that are there.
    private var ready = 0

    init(capacity: Int) throws(SystemError) {
        mapping = try Mapping.anonymous(count: capacity)
        mapping.preferHugePages()
        prepare(after: Self.least / 2)
    }

    var bytes: UnsafeMutableRawBufferPointer { mapping.bytes }

    /// Makes room for an epoch twice as large as one of `length` bytes. Takes its time: outside of a pause.
    func prepare(after length: Int) {
        let wanted = min(2 * length, mapping.count, ready + Self.step)
        guard wanted > ready else { return }
        mapping.populate(ready..<wanted)
        ready = wanted
    }
}
