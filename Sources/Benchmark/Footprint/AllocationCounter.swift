import Glibc
import SystemSupport

/// Allocations of a process, this one or another, as they are counted in it (bench/allocations.c): in a page that both map, so that
/// looking costs nobody an allocation.
final class AllocationCounter {
    /// The variable that names the folder of such pages, each with the name of its process's number.
    static let variable = "REMUSD_BENCH_ALLOCATIONS"

    struct Count: Equatable, Sendable {
        var allocations: UInt64 = 0, bytes: UInt64 = 0

        static func - (after: Count, before: Count) -> Count {
            Count(
                allocations: after.allocations &- before.allocations,
                bytes: after.bytes &- before.bytes
            )
        }
    }

    private let page: Mapping

    init(of pid: Int32, in folder: String) throws {
        let path = "\(folder)/\(pid)"
        let raw = open(path, O_RDWR | O_CLOEXEC)
        guard raw >= 0 else {
            throw BenchError("allocations of process \(pid) are not counted: \(SystemError("open \(path)"))")
        }
        page = try Mapping.shared(Descriptor(owning: raw), count: 4096)
    }

    private var words: UnsafeMutablePointer<UInt64> { page.base.assumingMemoryBound(to: UInt64.self) }

    /// Since the process began.
    var count: Count { Count(allocations: words[0], bytes: words[1]) }

    /// Has the next `most` allocations told on standard error, with where they come from.
    func tell(_ most: Int) { words[2] = UInt64(max(0, most)) }
}
