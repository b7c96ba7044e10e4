import CXen
import Checkpoint
import Glibc
import XenStream

/// The state of a PV guest: TSC_INFO, SHARED_INFO and, for each vcpu that is online, BASIC, EXTENDED, XSAVE and MSRS, with
/// machine frames replaced by pfns (stream-v2.md, sections 6.5 and 8).
final class PVState: GuestStateReader {
    /// More than any processor's registers take.
    private static let bufferSize = 64 << 10

    let capacity: Int
    private let hypervisor: Hypervisor
    private let domain: UInt32
    private let frames: PVFrames
    private let vcpuCount: UInt32
    private let policy: ProcessorPolicy
    private let buffer: OpaquePointer
    private let context: UnsafeMutableRawBufferPointer

    init(_ hypervisor: Hypervisor, _ frames: PVFrames, _ domain: Domain) throws(GuestError) {
        self.hypervisor = hypervisor
        self.domain = domain.id
        self.frames = frames
        vcpuCount = domain.highestVcpu + 1
        policy = try ProcessorPolicy(hypervisor, domain: domain.id)
        guard let buffer = CXen_buffer_new(hypervisor.raw, Self.bufferSize) else {
            throw GuestError(guest: hypervisor.guest, reason: "there is no memory for hypercalls")
        }
        self.buffer = buffer
        context = .allocate(byteCount: PVLayout.VcpuContext.pv64.size, alignment: 16)
        let xsave = max(0, CXen_vcpu_xsave(hypervisor.raw, domain.id, 0, buffer, Self.bufferSize))
        // The four records of a vcpu with their heads; processor state may grow by what the guest switches on.
        let perVcpu = context.count + VcpuRecordHeader.maximumExtendedBlob + max(4096, 2 * xsave) + 4096 + 128
        capacity = max(
            policy.capacity + PVInfo.size + 8 * frames.tablePageCount + 256,
            Int(vcpuCount) * perVcpu + guestPageSize + TSCInfo.size + 256
        )
    }

    deinit {
        CXen_buffer_free(hypervisor.raw, buffer)
        context.deallocate()
    }

    func writeStatic(into writer: inout StreamWriter) throws(GuestError) {
        writer.appendPVInfo(frames.info)
        try policy.write(into: &writer)
        writer.appendRecord(.staticDataEnd)
        let header = P2MFramesHeader(endPFN: UInt32(frames.pageCount - 1))
        let pages = try frames.announceTablePages()
        pages.withUnsafeBufferPointer { writer.appendP2MFrames(header, frames: $0) }
    }

    func writeState(into writer: inout StreamWriter) throws(GuestError) {
        try writer.appendTSCInfo(of: domain, hypervisor)
        writer.appendSharedInfo(UnsafeRawBufferPointer(start: frames.sharedInfo, count: guestPageSize))
        for vcpu in 0..<vcpuCount {
            var isOnline = false
            try hypervisor.check(
                "ask about its vcpu \(vcpu)",
                CXen_vcpu_online(hypervisor.raw, domain, vcpu, &isOnline)
            )
            if isOnline { try write(vcpu, into: &writer) }
        }
    }

    private func write(_ vcpu: UInt32, into writer: inout StreamWriter) throws(GuestError) {
        let layout = PVLayout.VcpuContext.of(frames.info)
        try hypervisor.check(
            "read the registers of its vcpu \(vcpu)",
            CXen_vcpu_context(hypervisor.raw, domain, vcpu, context.baseAddress, layout.size)
        )
        let blob = UnsafeMutableRawBufferPointer(rebasing: context[..<layout.size])
        if let frame = layout.normalize(blob, isFirst: vcpu == 0, frames) {
            throw GuestError(
                guest: hypervisor.guest,
                reason: "vcpu \(vcpu) names frame \(frame), which is not the guest's own"
            )
        }
        writer.appendVcpu(.x86PVVcpuBasic, vcpu: vcpu, blob: UnsafeRawBufferPointer(blob))

        let extended = CXen_vcpu_extended(
            hypervisor.raw,
            domain,
            vcpu,
            context.baseAddress,
            VcpuRecordHeader.maximumExtendedBlob
        )
        try check("extended context", vcpu, extended)
        if extended > 0 {
            let bytes = UnsafeRawBufferPointer(rebasing: context[..<extended])
            writer.appendVcpu(.x86PVVcpuExtended, vcpu: vcpu, blob: bytes)
        }
        let xsave = CXen_vcpu_xsave(hypervisor.raw, domain, vcpu, buffer, Self.bufferSize)
        try check("processor state", vcpu, xsave)
        append(.x86PVVcpuXsave, vcpu, xsave, &writer)
        let registers = CXen_vcpu_msrs(hypervisor.raw, domain, vcpu, buffer, Self.bufferSize)
        try check("model-specific registers", vcpu, registers)
        append(.x86PVVcpuMSRs, vcpu, registers * VcpuRecordHeader.msrEntrySize, &writer)
    }

    private func append(
        _ type: LibxcRecordType,
        _ vcpu: UInt32,
        _ count: Int,
        _ writer: inout StreamWriter
    ) {
        guard count > 0 else { return }
        let bytes = UnsafeRawBufferPointer(start: CXen_buffer_memory(buffer), count: count)
        writer.appendVcpu(type, vcpu: vcpu, blob: bytes)
    }

    private func check(_ what: String, _ vcpu: UInt32, _ result: Int) throws(GuestError) {
        if result < 0 { try hypervisor.check("read the \(what) of its vcpu \(vcpu)", Int32(-result)) }
    }
}

extension PVLayout.VcpuContext {
    /// Replaces the machine frames in a vcpu's registers by pfns (stream-v2.md, section 8).
    /// - Parameter isFirst: vcpu 0, whose edx is the frame of start_info.
    /// - Returns: a frame that is not the guest's; nil if all are.
    package func normalize(
        _ blob: UnsafeMutableRawBufferPointer,
        isFirst: Bool,
        _ translation: some FrameTranslation
    ) -> UInt64? {
        guard let base = blob.baseAddress else { return 0 }
        func store(_ value: UInt64, _ offset: Int) {
            if word == 8 {
                base.storeBytes(of: value, toByteOffset: offset, as: UInt64.self)
            } else {
                base.storeBytes(of: UInt32(truncatingIfNeeded: value), toByteOffset: offset, as: UInt32.self)
            }
        }
        if isFirst {
            let frame = load(base, edx)
            guard let pfn = translation.pfn(ofFrame: frame) else { return frame }
            store(pfn, edx)
        }
        let entries = min(load(base, gdtEntries), Self.maximumGDTEntries)
        for index in 0..<Int((entries + Self.descriptorsPerFrame - 1) / Self.descriptorsPerFrame) {
            let offset = gdtFrames + index * word
            let frame = load(base, offset)
            guard let pfn = translation.pfn(ofFrame: frame) else { return frame }
            store(pfn, offset)
        }
        let root = PVLayout.frame(cr3: load(base, cr3), word: word)
        guard let pfn = translation.pfn(ofFrame: root) else { return root }
        store(PVLayout.cr3(frame: pfn, word: word), cr3)
        if let cr1, load(base, cr1) != 0 {
            let user = PVLayout.frame(cr3: load(base, cr1), word: word)
            guard let pfn = translation.pfn(ofFrame: user) else { return user }
            store(PVLayout.cr3(frame: pfn, word: word) | 1, cr1)
        }
        return nil
    }
}
