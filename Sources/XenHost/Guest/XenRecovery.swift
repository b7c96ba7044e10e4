import CXen
import Checkpoint
import Glibc
import SystemSupport

/// Undoes what a process that protected a guest may have left behind: a suspended guest, devices that are
/// stopped, a request to suspend, log-dirty, a subscription. Knows nothing but the domain; touches no output.
package enum XenRecovery {
    /// What was found.
    package enum Finding: Equatable, Sendable {
        /// It ran, and no request was on its way.
        case clean
        /// It was suspended, or about to suspend, or its devices were stopped, and runs now.
        case resumed
        /// A request was withdrawn before the guest had read it.
        case withdrawn
        /// There is no such guest any more.
        case gone
    }

    /// Puts the guest right. Safe to repeat, but never beside a process that protects the guest: there are not two who resume.
    /// - Parameters:
    ///   - uuid: the guest's; another guest under the same domid is left alone.
    ///   - patience: how long to wait, in nanoseconds, for a guest that may have read a request and not suspended yet.
    ///   - standsStill: whether it is to be paused by remusd (`GuestPause`) afterwards; nil leaves it as it is. At the end of all: a
    ///     guest that is paused does not follow what was asked of it.
    @discardableResult
    package static func repair(
        domain: UInt32,
        uuid: GuestUUID,
        patience: UInt64,
        standsStill: Bool? = nil
    ) throws(GuestError) -> Finding {
        let guest = "domain \(domain)"
        let hypervisor = try Hypervisor(for: guest)
        guard let found = try hypervisor.domain(domain), found.uuid == uuid, found.state != .gone else {
            return .gone
        }
        let store = try Xenstore(for: guest)
        var finding = Finding.clean
        let path = "/local/domain/\(domain)/control/shutdown"
        let deadline = Clock.monotonic + patience
        // Before the vcpus, which read ones from devices that are stopped.
        let model = found.isHVM ? DeviceModel.known(of: domain, store) : nil
        if model?.recover(until: Clock.monotonic + 1_000_000_000) == true { finding = .resumed }
        // What suspends once more after a resume was asked to by nobody who lives.
        if try resumeIfSuspended(hypervisor, store, domain) { finding = .resumed }
        if (try? store.exchange(path, from: "suspend", to: "")) == true {
            if finding == .clean { finding = .withdrawn }
        } else if finding == .clean {
            while Clock.monotonic < deadline {
                if try resumeIfSuspended(hypervisor, store, domain) {
                    finding = .resumed
                    break
                }
                usleep(1000)
            }
        }
        try hypervisor.check(
            "unsubscribe from its suspends",
            CXen_domain_subscribe(hypervisor.raw, domain, 0)
        )
        // Off already is as good.
        _ = CXen_log_dirty_off(hypervisor.raw, domain)
        model?.endLog()
        let pause = GuestPause(of: domain, hypervisor, store)
        switch standsStill {
        case true?: try pause.begin()
        case false?: try pause.end()
        case nil: break
        }
        return finding
    }

    private static func resumeIfSuspended(
        _ hypervisor: Hypervisor,
        _ store: Xenstore,
        _ domain: UInt32
    ) throws(GuestError) -> Bool {
        guard try hypervisor.domain(domain)?.state == .suspended else { return false }
        try hypervisor.check("resume it", CXen_domain_resume(hypervisor.raw, domain))
        try store.resume(domain)
        return true
    }
}
