import CXen
import Checkpoint
import Glibc
import Synchronization

/// A domain as Xen shows it now.
package struct DomainState: Equatable, Sendable {
    package var domid: UInt32
    package var uuid: GuestUUID
    package var isPaused: Bool
    /// All its vcpus are stopped, and why (xen/include/public/sched.h, SHUTDOWN_*); nil while it runs.
    package var shutdownReason: UInt8?
    package var isDying: Bool

    package init(
        domid: UInt32,
        uuid: GuestUUID,
        isPaused: Bool = false,
        shutdownReason: UInt8? = nil,
        isDying: Bool = false
    ) {
        self.domid = domid
        self.uuid = uuid
        self.isPaused = isPaused
        self.shutdownReason = shutdownReason
        self.isDying = isDying
    }

    /// It suspended (SHUTDOWN_suspend, 2): that is no end, it is being checkpointed or saved.
    var isSuspended: Bool { shutdownReason == 2 }
    /// It runs, or will go on.
    var lives: Bool { !isDying && (shutdownReason == nil || isSuspended) }
}

/// What this host's Xen tells about its domains and its memory. Calls may come from any thread.
package protocol XenDomains: Sendable {
    /// Why nothing can be told here, in words for an operator; nil where there is Xen.
    var whyNot: String? { get }
    func domains() throws(XenError) -> [DomainState]
    /// The domid of a name, nil if there is none.
    func domid(named name: String) -> UInt32?
    /// Memory that no domain has, in KiB.
    func freeMemory() throws(XenError) -> UInt64
    /// What a domain of this configuration (libxl's JSON) takes of it, in KiB.
    func neededMemory(_ json: [UInt8]) throws(XenError) -> UInt64
}

extension XenDomains {
    /// The domain of that UUID, if one is alive or being made.
    func domain(_ uuid: GuestUUID) throws(XenError) -> DomainState? {
        try domains().first { $0.uuid == uuid && !$0.isDying }
    }
}

/// A question that Xen, or its toolstack, did not answer.
package struct XenError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// The answers of libxenlight. The context is opened when first asked for: a standby without Xen has none.
package final class LibxlDomains: XenDomains {
    /// Unchecked: a libxl context has a lock of its own (libxl_event.h), and this pointer never changes.
    private final class Handle: @unchecked Sendable {
        let pointer: OpaquePointer
        init(_ pointer: OpaquePointer) { self.pointer = pointer }
        deinit { CXen_light_close(pointer) }
    }

    private let context = Mutex<Handle?>(nil)

    package init() {}

    package var whyNot: String? {
        do throws(XenError) {
            _ = try handle()
            return nil
        } catch {
            return error.description
        }
    }

    /// A context that could not be opened is tried again: xenstored may come up later.
    private func handle() throws(XenError) -> Handle {
        try context.withLock { context throws(XenError) in
            if let context { return context }
            let opened = try Self.open()
            context = opened
            return opened
        }
    }

    private static func open() throws(XenError) -> Handle {
        if let missing = CXen_light_load() {
            throw XenError("this host has no Xen 4.17 toolstack: \(String(cString: missing))")
        }
        guard access("/proc/xen/privcmd", F_OK) == 0 || access("/dev/xen/privcmd", F_OK) == 0 else {
            throw XenError("this host does not run under Xen, or not as its control domain")
        }
        guard let pointer = CXen_light_open() else {
            throw XenError("libxl cannot be used here: its own messages, in this process's log, say why")
        }
        return Handle(pointer)
    }

    package func domains() throws(XenError) -> [DomainState] {
        let handle = try handle()
        var room = 256
        while true {
            var found = [CXen_light_domain](repeating: CXen_light_domain(), count: room)
            let count = Int(CXen_light_domains(handle.pointer, &found, Int32(room)))
            guard count >= 0 else { throw XenError("Xen's domains cannot be listed") }
            if count <= room { return found[..<count].map(DomainState.init) }
            room = count + 16
        }
    }

    package func domid(named name: String) -> UInt32? {
        guard let handle = try? handle() else { return nil }
        return UInt32(exactly: CXen_light_domid(handle.pointer, name))
    }

    package func freeMemory() throws(XenError) -> UInt64 {
        var kib: UInt64 = 0
        guard CXen_light_free_memory(try handle().pointer, &kib) == 0 else {
            throw XenError("Xen's free memory cannot be read")
        }
        return kib
    }

    package func neededMemory(_ json: [UInt8]) throws(XenError) -> UInt64 {
        var kib: UInt64 = 0
        let handle = try handle()
        let result = (json + [0]).withUnsafeBytes {
            CXen_light_needed_memory(handle.pointer, $0.bindMemory(to: CChar.self).baseAddress, &kib)
        }
        guard result == 0 else { throw XenError("libxl cannot say what memory the guest needs (\(result))") }
        return kib
    }
}

extension DomainState {
    fileprivate init(_ domain: CXen_light_domain) {
        let (high, low) = withUnsafeBytes(of: domain.uuid) { bytes in
            (
                UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
        self.init(
            domid: domain.domid,
            uuid: GuestUUID(high: high, low: low),
            isPaused: domain.paused != 0,
            shutdownReason: domain.shutdown != 0 ? domain.shutdown_reason : nil,
            isDying: domain.dying != 0
        )
    }
}
