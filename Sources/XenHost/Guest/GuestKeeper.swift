import CXen
import Checkpoint
import Glibc
import SystemSupport

/// Carries out what a guest's configuration wants done when the guest ends: what xl's own process for it does, until that sees
/// the first suspend and leaves (xl create, "Domain has suspended").
///
/// A process of its own for each guest, from the first protection on until the guest is gone: so the guest's end is seen to
/// while it is protected, after `unprotect`, and after a protect that died. It waits for a `remusd protect` to have ended first, so that a
/// planned end comes before the domain goes. Should xl's process still be there, that one is faster, and the domain is gone or
/// a new one when this one looks again.
package final class GuestKeeper {
    /// How long xl's own process has, in microseconds.
    private static let grace: UInt32 = 5_000_000
    private static let folder = "/run/xen"

    private var guest: FoundGuest
    private let config: [UInt8]
    private let actions: GuestEndActions
    private let lock: FileLock
    private let hypervisor: Hypervisor
    private let store: Xenstore
    private let log: (String) -> Void

    /// Becomes the guest's keeper; nil if it has one.
    /// - Parameter log: told what is done.
    package static func become(
        _ guest: FoundGuest,
        log: @escaping (String) -> Void
    ) throws(GuestError) -> GuestKeeper? {
        let lock: FileLock
        do throws(SystemError) {
            lock = try FileLock(at: "\(folder)/remusd-keeper-\(guest.uuid).lock")
        } catch {
            if error.code == EWOULDBLOCK { return nil }
            throw GuestError(guest: guest.name, reason: "\(error)")
        }
        return try GuestKeeper(guest, lock, log)
    }

    private init(_ guest: FoundGuest, _ lock: FileLock, _ log: @escaping (String) -> Void) throws(GuestError)
    {
        self.guest = guest
        self.lock = lock
        self.log = log
        config = try DomainConfig.current(guest)
        actions = GuestEndActions(config: config)
        hypervisor = try Hypervisor(for: guest.name)
        store = try Xenstore(for: guest.name)
        try store.watch("@releaseDomain", token: "r")
    }

    /// Keeps the guest until it is gone.
    package func run() throws(GuestError) {
        while true {
            switch try state() {
            case .gone: return
            case .running, .paused, .suspended: wait()
            case .ended:
                usleep(Self.grace)
                guard case .ended(let end) = try state() else { continue }
                guard let owner = try takeGuest() else { continue }
                defer { withExtendedLifetime(owner) {} }
                guard try carryOut(actions.action(for: end), end) else { return }
            }
        }
    }

    private func state() throws(GuestError) -> LifeState {
        guard let domain = try hypervisor.domain(guest.domain), domain.uuid == guest.uuid else {
            return .gone
        }
        return domain.state
    }

    private func wait() {
        _ = Poll.wait(store.descriptor, milliseconds: 1000)
        while store.nextEvent() != nil {}
    }

    /// Waits for whoever protects the guest to have seen to its end; nil if the domain went meanwhile.
    private func takeGuest() throws(GuestError) -> FileLock? {
        while true {
            if let lock = try? GuestLock.take(guest) { return lock }
            guard case .ended = try state() else { return nil }
            usleep(200_000)
        }
    }

    /// - Returns: whether there is a guest to keep afterwards.
    private func carryOut(_ action: GuestEndAction, _ end: GuestEnd) throws(GuestError) -> Bool {
        log("the guest ended (\(end.rawValue)): \(action.rawValue)")
        guard action.destroys else { return false }
        do throws(XenError) {
            if action.dumpsCore { try XlProgram().dumpCore(guest.domain, name: guest.name) }
            try XlProgram().destroy(guest.domain)
        } catch {
            throw GuestError(
                guest: guest.name,
                reason: "its end cannot be seen to (\(action.rawValue)): \(error)"
            )
        }
        guard action.restarts else { return false }
        let domain = try create()
        log("started again as domain \(domain)")
        guest = FoundGuest(domain: domain, uuid: guest.uuid, name: guest.name)
        return true
    }

    private func create() throws(GuestError) -> UInt32 {
        guard let light = CXen_light_open() else {
            throw GuestError(guest: guest.name, reason: "libxl cannot be used to start it again")
        }
        defer { CXen_light_close(light) }
        var domain: UInt32 = 0
        let code = (config + [0]).withUnsafeBytes { bytes in
            CXen_light_create(light, bytes.assumingMemoryBound(to: CChar.self).baseAddress, &domain)
        }
        guard code == 0 else {
            throw GuestError(
                guest: guest.name,
                reason:
                    "it cannot be started again: libxl's error \(code); xl create with its configuration does"
            )
        }
        return domain
    }
}
