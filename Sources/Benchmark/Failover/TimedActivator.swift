import Checkpoint
import EmbeddedHost
import Glibc
import Synchronization
import SystemSupport

/// An activator that notes when a guest ran.
final class TimedActivator: GuestActivator {
    private let activator: any GuestActivator
    private let last = Mutex<(running: UInt64, guest: ActivatedGuest)?>(nil)

    init(_ activator: any GuestActivator) { self.activator = activator }

    /// When the last guest's start was over: it answers from here on. Nanoseconds of the boot clock.
    var running: UInt64? { last.withLock { $0?.running } }

    /// Ends it.
    func endGuest() {
        guard let guest = last.withLock({ $0?.guest.guest }) as? EmbeddedProcess else { return }
        kill(guest.pid, SIGKILL)
        for _ in 0..<5000 where !guest.hasEnded { usleep(1000) }
    }

    func runningGuest(named name: String, uuid: GuestUUID, unfinished: UnfinishedStart?) -> ActivatedGuest? {
        activator.runningGuest(named: name, uuid: uuid, unfinished: unfinished)
    }

    func outlook(for description: GuestDescription) -> ActivationOutlook {
        activator.outlook(for: description)
    }

    func missingResources(for request: ActivationRequest) -> [String] {
        activator.missingResources(for: request)
    }

    func begin(_ request: ActivationRequest) -> (any BegunStart)? { activator.begin(request) }

    func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest {
        let guest = try activator.start(request)
        last.withLock { $0 = (Clock.boot, guest) }
        return guest
    }
}
