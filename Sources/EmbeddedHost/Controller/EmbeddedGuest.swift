import Checkpoint
import Glibc
import SystemSupport
import XenStream

/// An embedded guest as `remusd protect` sees it, from another process.
///
/// Calls come from one thread. When the object goes, or its process, the guest runs on with its plug as it was.
package final class EmbeddedGuest: ProtectedGuest {
    package let description: GuestDescription
    /// Where the guest's answers are held.
    package let output: EmbeddedOutputBuffer
    /// How written pages are found, for status.
    package var trackingMethod: DirtyTracking { tracker.method }
    /// The guest's process.
    package var pid: Int32 { link.description.pid }

    private let link: GuestLink
    private let memory: Mapping
    private let tracker: any DirtyTracker
    private var isSuspended = false
    /// As of the last suspension; 128 bytes.
    private let registers: UnsafeMutableRawBufferPointer
    private var virtualTime: UInt64 = 0
    private let copier = PageCopier()

    /// Takes control of a running guest.
    /// - Parameters:
    ///   - tracking: how to find written pages; nil takes the best there is.
    /// - Throws: if no such guest runs, another process controls it, or the tracking asked for is missing.
    package init(
        name: String,
        runtimeDirectory: String,
        tracking: DirtyTracking? = nil
    ) throws(GuestError) {
        let path = EmbeddedPaths.controlSocket(of: name, in: runtimeDirectory)
        let link = try GuestLink(attachingTo: path, name: name)
        self.link = link
        let size = Int(link.description.pageCount) * guestPageSize
        let memory: Mapping
        do { memory = try Mapping.shared(link.memoryFile, count: size, writable: false) } catch {
            throw GuestError(guest: name, reason: "\(error)")
        }
        self.memory = memory
        tracker = try Self.tracker(tracking, link, memory)
        output = EmbeddedOutputBuffer(link)
        registers = .allocate(byteCount: GuestRegisters.size, alignment: 8)
        description = GuestDescription(
            name: name,
            uuid: link.description.uuid,
            kind: .hvm,
            pageCount: Int(link.description.pageCount),
            address: link.description.address,
            config: Self.domainConfig(link.description)
        )
    }

    deinit {
        link.close()
        registers.deallocate()
    }

    /// Lets go of the guest: it runs on, its plug as it is. Every later call fails.
    package func detach() { link.close() }

    // MARK: Ends

    package var eventDescriptor: Int32 { link.events.descriptor.raw }

    package func ended() -> GuestEnd? {
        if let end = link.announcedEnd { return end }
        return link.process.hasEnded ? .crashed : nil
    }

    // MARK: Dirty pages

    package func startDirtyTracking() throws(GuestError) { try tracker.start() }

    package func stopDirtyTracking() { tracker.stop() }

    package func collectDirty(into bitmap: inout PageBitmap) throws(GuestError) {
        if isSuspended { copier.pauseBegins() }
        try tracker.collect(into: &bitmap)
    }

    package func collectPopulated(into bitmap: inout PageBitmap) throws(GuestError) {
        do {
            try SparseFile.forEachDataRange(of: link.memoryFile, size: memory.count) { range in
                bitmap.insert(
                    range.lowerBound / guestPageSize..<(range.upperBound + guestPageSize - 1) / guestPageSize
                )
            }
        } catch { throw GuestError(guest: description.name, reason: "\(error)") }
        // A receiver zeroes the console and xenstore pages, so they must be there before HVM_PARAMS names them.
        bitmap.insert(description.pageCount - GuestTable.reservedPages..<description.pageCount)
    }

    package func copyPages(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer
    ) throws(GuestError) -> Int {
        let count = copier.copy(pfns, of: memory, types: types, into: contents)
        if !isSuspended {
            for (index, pfn) in pfns.enumerated() {
                tracker.copied(Int(pfn), contents + index * guestPageSize)
            }
        }
        return count
    }

    // MARK: Suspending

    package func requestSuspend() throws(GuestError) {
        copier.pauseComes()
        link.requestSuspend()
    }

    package func suspendOutcome() throws(GuestError) -> SuspendOutcome? {
        var isWhole = false
        let answer = link.suspendAnswer { payload in
            guard let block = GuestRegisters(payload) else { return }
            registers.copyMemory(from: payload)
            virtualTime = block.virtualTime
            isWhole = true
        }
        switch answer {
        case .late: return nil
        case .reply(let reply) where reply.status == .done && isWhole:
            isSuspended = true
            return .suspended
        case .reply(let reply) where reply.status == .ended: return .ended(link.announcedEnd ?? .shutdown)
        case .lost:
            if let end = link.announcedEnd { return .ended(end) }
            if link.process.waitForEnd(milliseconds: 200) { return .ended(.crashed) }
            throw GuestError(guest: description.name, reason: "the connection to its process was lost")
        case .reply:
            link.close()
            throw GuestError(guest: description.name, reason: "its registers make no sense")
        }
    }

    package func cancelSuspend() {
        isSuspended = false
        link.cancelSuspend()
    }

    package func resume() throws(GuestError) {
        guard isSuspended else { return }
        isSuspended = false
        copier.pauseEnds()
        // No reply is waited for: the pause ends when the guest takes the message.
        guard link.tell(.resume) || ended() != nil else {
            throw GuestError(
                guest: description.name,
                reason: "the connection to its process was lost; it resumes by itself"
            )
        }
    }

    // MARK: State

    package var stateCapacity: Int { 512 }

    package func writeStatic(into writer: inout StreamWriter) throws(GuestError) {
        writer.appendRecord(.staticDataEnd)
    }

    package func writeState(into writer: inout StreamWriter) throws(GuestError) {
        // The guest's clock counts nanoseconds.
        writer.appendTSCInfo(TSCInfo(khz: 1_000_000, nanoseconds: virtualTime, incarnation: 1))
        withUnsafeTemporaryAllocation(of: HVMParam.self, capacity: 2) { params in
            let last = UInt64(description.pageCount - 1)
            params.initializeElement(at: 0, to: HVMParam(index: HVMParam.storePFN, value: last))
            params.initializeElement(at: 1, to: HVMParam(index: HVMParam.consolePFN, value: last - 1))
            writer.appendHVMParams(UnsafeBufferPointer(params))
        }
        writer.appendHVMContext(typecode: GuestRegisters.typecode, payload: UnsafeRawBufferPointer(registers))
    }

    // MARK: Parts

    private static func tracker(
        _ choice: DirtyTracking?,
        _ link: GuestLink,
        _ memory: Mapping
    ) throws(GuestError) -> any DirtyTracker {
        let name = link.description.name
        func comparing() throws(GuestError) -> any DirtyTracker {
            try CompareTracker(name: name, memory: memory, file: link.memoryFile)
        }
        if choice == .compare { return try comparing() }
        do {
            let tracker = try PagemapTracker(link)
            // Whether the kernel can do it shows only when it is asked to.
            try link.demand(.startTracking)
            tracker.stop()
            return tracker
        } catch {
            guard choice == nil else {
                throw GuestError(
                    guest: name,
                    reason: "dirty tracking by pagemap was asked for but \(error.reason)"
                )
            }
            return try comparing()
        }
    }

    /// A domain configuration as libxl prints it (libxl_domain_config_gen_json), reduced to what is true of this guest,
    /// and saying that this host, not Xen, runs it.
    private static func domainConfig(_ guest: ControlDescription) -> [UInt8] {
        let kib = guest.pageCount * 4
        let text =
            "{\"c_info\":{\"type\":\"pvh\",\"name\":\"\(guest.name)\",\"uuid\":\"\(guest.uuid)\"},"
            + "\"b_info\":{\"max_vcpus\":1,\"avail_vcpus\":[0],\"max_memkb\":\(kib),\"target_memkb\":\(kib),"
            + "\"type.pvh\":{}},\"on_reboot\":\"restart\",\"on_crash\":\"destroy\",\"remusd\":{\"host\":\"embedded\"}}"
        return Array(text.utf8)
    }
}
