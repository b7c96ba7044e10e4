import Checkpoint
import Glibc
import Logging
import NetBuffer
import SystemSupport
import XenHost

/// Sees to a guest's held output when whoever owns it does not: its `remusd protect` is dead, or hangs. Dropping is all it does: what
/// is held is of no committed epoch, and while it is held the guest's interfaces cannot go.
package enum OutputKeeping {
    /// How long an owner has to drop what is held of a card that is gone, and of one that closes, in nanoseconds.
    private static let patience: UInt64 = 1_000_000_000, grace: UInt64 = 3_000_000_000
    private static let look: Int32 = 250

    /// Watches over a guest's output on a thread of its own, as long as this process lives, also after its reboots.
    package static func start(_ guest: FoundGuest, _ log: Logger) {
        do throws(SystemError) {
            try WorkerThread("output") {
                while true {
                    if let found = try? GuestFinder.find(guest.uuid.description) { watch(found, log) }
                    usleep(1_000_000)
                }
            }
            .detach()
        } catch {
            log.error("nobody will drop what is held when the guest goes and its protect is dead: \(error)")
        }
    }

    /// Watches over the output of one life of a guest.
    private static func watch(_ guest: FoundGuest, _ log: Logger) {
        guard let cards = try? CardWatch(guest) else { return }
        var since: [String: UInt64] = [:]
        var interfaces: [String] = []
        while true {
            _ = Poll.wait(cards.descriptor, milliseconds: since.isEmpty ? 60_000 : look)
            _ = cards.drain()
            guard let now = cards.cards() else { return }
            let isGone = now.isEmpty && !isAlive(guest)
            for (card, standing) in now {
                if !interfaces.contains(card.interface) { interfaces.append(card.interface) }
                if standing == .serves { since[card.interface] = nil }
            }
            let time = Clock.monotonic
            for name in interfaces {
                let standing = now.first { $0.card.interface == name }?.standing ?? .torn
                guard standing != .serves else { continue }
                let began = since[name] ?? time
                since[name] = began
                // A card that closes may serve again: its plug is only touched if nobody owns it.
                let isDue =
                    standing == .torn
                    ? time - began >= patience
                    : time - began >= grace && (try? GuestLock.take(guest)) != nil
                if isDue { drop(guest, name, log) }
                // One that is gone for good needs no more looks.
                if standing == .torn, if_nametoindex(name) == 0 {
                    since[name] = nil
                    interfaces.removeAll { $0 == name }
                }
            }
            if isGone, since.isEmpty {
                for name in (try? removeOrphans()) ?? [] { log.notice("removed \(name)") }
                return
            }
        }
    }

    private static func drop(_ guest: FoundGuest, _ interface: String, _ log: Logger) {
        do throws(NetlinkError) {
            // The tap of an emulated card goes with it.
            let names = [interface, interface + "-emu"]
            for (name, packets) in try PlugSurvey.silence(domain: guest.domain, { names.contains($0) }) {
                log.warning("\(name) is being taken away: \(packets) packets that were held are dropped")
            }
        } catch {
            log.error("what is held of \(interface) cannot be dropped: \(error)")
        }
    }

    /// Drops what is held of a guest that is gone, for a process that has just found that out.
    static func drop(_ guest: FoundGuest) {
        guard !isAlive(guest) else { return }
        _ = try? PlugSurvey.silence(domain: guest.domain) { _ in true }
        _ = try? removeOrphans()
    }

    /// Whether some of a guest's output is held, or may be; where the kernel does not say, it is.
    static func mayBeHeld(_ guest: FoundGuest) -> Bool {
        guard let devices = try? PlugSurvey.list() else { return true }
        return devices.contains { $0.domain == guest.domain && $0.isRedirected }
    }

    /// Whether a domain of the guest's number is there and not dying; where Xen does not say, it is.
    private static func isAlive(_ guest: FoundGuest) -> Bool {
        living()?.contains(guest.domain) ?? true
    }

    /// The numbers of all domains that are there and not dying; nil where Xen does not say.
    package static func living() -> Set<UInt32>? {
        guard let domains = try? Hypervisor(for: "").domains() else { return nil }
        return Set(domains.filter { $0.state != .gone }.map(\.id))
    }

    /// Removes the devices of interfaces and of domains that are gone. Nothing of a guest that lives is touched.
    /// - Returns: their names.
    package static func removeOrphans() throws(NetlinkError) -> [String] {
        // Xen is asked after the kernel: whatever has a device by then is in its answer.
        try PlugSurvey.removeOrphans { living()?.contains($0) ?? true }
    }
}
