import CXen
import Checkpoint
import Glibc

/// What Xen knows of a domain.
package struct Domain: Equatable, Sendable {
    package let id: UInt32
    package let uuid: GuestUUID
    package let isHVM: Bool
    package let state: LifeState
    /// Pages it has now, and may have at most.
    let pages: Int, mostPages: Int
    let sharedInfoFrame: UInt64
    let highestVcpu: UInt32

    /// A domain of which only this is known.
    package init(id: UInt32, uuid: GuestUUID, isHVM: Bool = true, state: LifeState = .running) {
        self.id = id
        self.uuid = uuid
        self.isHVM = isHVM
        self.state = state
        (pages, mostPages, sharedInfoFrame, highestVcpu) = (0, 0, 0, 0)
    }

    init(_ raw: CXen_domain) {
        id = raw.domid
        uuid = withUnsafeBytes(of: raw.uuid) { bytes in
            GuestUUID(
                high: bytes.loadUnaligned(as: UInt64.self).bigEndian,
                low: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian
            )
        }
        isHVM = raw.is_hvm
        state = LifeState(raw)
        pages = Int(raw.pages)
        mostPages = Int(truncatingIfNeeded: raw.most_pages)
        sharedInfoFrame = raw.shared_info_frame
        highestVcpu = raw.highest_vcpu
    }
}

extension GuestEnd {
    /// What a shutdown with this reason means (xen/include/public/sched.h, SHUTDOWN_*).
    /// - Returns: nil for one that is no end: the guest is suspended, or was taken away (a negative reason).
    init?(shutdownReason reason: Int32) {
        switch reason {
        case Int32(CXen_POWEROFF): self = .shutdown
        case Int32(CXen_REBOOT): self = .reboot
        case Int32(CXen_SUSPEND), ..<0: return nil
        // Crash, watchdog, and a soft reset, which nobody here can carry out.
        default: self = .crashed
        }
    }
}

/// Whether and how a domain runs.
package enum LifeState: Equatable, Sendable {
    case running
    /// `xl pause`, or a debugger.
    case paused
    /// It has shut down with the reason "suspend" and waits to be resumed.
    case suspended
    /// It shut down for another reason.
    case ended(GuestEnd)
    /// It is being taken away, or is gone.
    case gone

    init(_ domain: CXen_domain) {
        let end = domain.is_shut_down ? GuestEnd(shutdownReason: Int32(domain.shutdown_reason)) : nil
        if let end {
            self = .ended(end)
        } else if domain.is_dying {
            self = .gone
        } else if domain.is_shut_down {
            self = .suspended
        } else {
            self = domain.is_paused ? .paused : .running
        }
    }
}

/// Xen's privileged command interface, opened. Belongs to one thread at a time.
package final class Hypervisor {
    let raw: OpaquePointer
    /// Who its errors are about.
    let guest: String

    /// Opens the interface on behalf of `guest`.
    /// - Throws: where there is no Xen, or one of another version than the libraries'.
    package init(for guest: String) throws(GuestError) {
        if let reason = XenLibraries.whyNot {
            throw GuestError(
                guest: guest,
                reason:
                    "there are no libraries of Xen 4.17 here (\(reason)): a guest of Xen's is protected on its host; "
                    + "embedded:NAME is a guest without Xen"
            )
        }
        var code: Int32 = 0
        guard let raw = CXen_open(&code) else {
            throw GuestError(
                guest: guest,
                reason: "this machine does not run under Xen, or remusd is not root in its control domain: "
                    + String(cString: strerror(code))
            )
        }
        self.raw = raw
        self.guest = guest
        var major: UInt32 = 0
        var minor: UInt32 = 0
        code = CXen_version(raw, &major, &minor)
        guard code == 0 else { throw XenFailure.error(guest, "ask Xen for its version", code) }
        guard (major, minor) == (4, 17) else {
            throw GuestError(
                guest: guest,
                reason: "this host runs Xen \(major).\(minor); remusd drives Xen 4.17 only"
            )
        }
    }

    deinit { CXen_close(raw) }

    /// Throws if `code` is an errno value.
    func check(_ operation: @autoclosure () -> String, _ code: Int32) throws(GuestError) {
        if code != 0 { throw XenFailure.error(guest, operation(), code) }
    }

    /// The domain, nil if there is none of this number.
    func domain(_ id: UInt32) throws(GuestError) -> Domain? {
        var raw = CXen_domain()
        let code = CXen_domain_get(self.raw, id, &raw)
        if code == ENOENT || code == ESRCH { return nil }
        try check("ask Xen about domain \(id)", code)
        return Domain(raw)
    }

    /// All domains but the control domain.
    package func domains() throws(GuestError) -> [Domain] {
        var result: [Domain] = []
        var first: UInt32 = 1
        while true {
            var batch = [CXen_domain](repeating: CXen_domain(), count: 64)
            let count = CXen_domain_list(raw, first, &batch, 64)
            try check("list Xen's domains", count < 0 ? -count : 0)
            for entry in batch[..<Int(count)] {
                result.append(Domain(entry))
                first = entry.domid + 1
            }
            if count < 64 { return result }
        }
    }
}
