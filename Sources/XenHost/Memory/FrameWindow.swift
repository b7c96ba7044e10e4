import CXen
import Checkpoint
import Glibc

/// Guest memory in our address space, read-only: pfn p at byte p * 4096 of one reserved range.
///
/// Read-only matters: a page that is mapped for writing anywhere cannot become a page table of a PV guest. A mapping holds
/// frames, not pfns: whoever learns that a pfn has another frame now drops it. Mapped and dropped in whole chunks, since a
/// mapping of another process's memory must not be split where the control domain is not PV itself.
final class FrameWindow {
    /// The kernel lets a process have 65530 mappings (vm.max_map_count); these stay well below.
    private static let mostChunks = 16384

    private let hypervisor: Hypervisor
    private let domain: UInt32
    private let pageCount: Int
    private let chunkPages: Int
    private let base: UnsafeMutableRawPointer
    /// For each chunk whether it is mapped; for each page whether it is there.
    private let mapped: UnsafeMutableBufferPointer<Bool>
    private let present: UnsafeMutableBufferPointer<Bool>
    private let frames: UnsafeMutableBufferPointer<UInt64>
    private let errors: UnsafeMutableBufferPointer<Int32>

    /// A window on `pageCount` pages of a domain, with nothing mapped.
    init(_ hypervisor: Hypervisor, domain: UInt32, pageCount: Int) throws(GuestError) {
        self.hypervisor = hypervisor
        self.domain = domain
        self.pageCount = pageCount
        var chunk = 1024
        while pageCount / chunk > Self.mostChunks { chunk *= 2 }
        chunkPages = chunk
        guard let base = CXen_reserve(pageCount) else {
            throw XenFailure.error(
                hypervisor.guest,
                "reserve address space for its \(pageCount) pages",
                errno
            )
        }
        self.base = base
        mapped = .allocate(capacity: (pageCount + chunk - 1) / chunk)
        mapped.initialize(repeating: false)
        present = .allocate(capacity: pageCount)
        frames = .allocate(capacity: chunk)
        frames.initialize(repeating: 0)
        errors = .allocate(capacity: chunk)
        errors.initialize(repeating: 0)
    }

    deinit {
        CXen_unreserve(base, pageCount)
        mapped.deallocate()
        present.deallocate()
        frames.deallocate()
        errors.deallocate()
    }

    /// The page of a pfn, nil if Xen does not give it to us now.
    /// - Parameter frame: the frame to map for a pfn (the gfn itself, or a PV guest's MFN).
    @inline(__always)
    func page(_ pfn: Int, _ frame: (Int) -> UInt64) throws(GuestError) -> UnsafeRawPointer? {
        let chunk = pfn / chunkPages
        if !mapped[chunk] { try map(chunk, frame) }
        return present[pfn] ? UnsafeRawPointer(base + pfn * guestPageSize) : nil
    }

    private func map(_ chunk: Int, _ frame: (Int) -> UInt64) throws(GuestError) {
        let first = chunk * chunkPages
        let count = min(chunkPages, pageCount - first)
        for index in 0..<count { frames[index] = frame(first + index) }
        let address = base + first * guestPageSize
        let code = CXen_map(hypervisor.raw, domain, address, count, frames.baseAddress, errors.baseAddress)
        try hypervisor.check("map its memory", code)
        for index in 0..<count { present[first + index] = errors[index] == 0 }
        mapped[chunk] = true
    }

    /// Lets go of the chunk that a pfn is in, so that it is mapped anew when it is next needed.
    func drop(_ pfn: Int) {
        let chunk = pfn / chunkPages
        guard mapped[chunk] else { return }
        mapped[chunk] = false
        let first = chunk * chunkPages
        _ = CXen_unmap(base + first * guestPageSize, min(chunkPages, pageCount - first))
    }

    /// Lets go of everything.
    func dropAll() {
        for chunk in mapped.indices where mapped[chunk] { drop(chunk * chunkPages) }
    }
}
