import Checkpoint
import Glibc
import SystemSupport

/// Watches a primary's processes where they run on this very machine: the one case in which a standby can see for
/// itself that guest and protect are gone, and when.
final class PrimaryWatch: Sendable {
    private let bootID: String
    private let identities: [ProcessIdentity]
    private let processes: [ProcessHandle]
    /// True if the processes run on this machine and can be told apart from later ones.
    private let isLocal: Bool
    private let goneSince: Monitor<Instant?>
    private let stop: EventFD?

    /// Watches the processes that a hello names.
    convenience init(_ hello: Hello) { self.init(hello.bootID, [hello.protectProcess, hello.guestProcess]) }

    /// Watches the processes that an adopted image remembers.
    convenience init(_ image: StandbyImage) {
        self.init(image.primaryBootID, [image.protectProcess, image.guestProcess])
    }

    /// - Parameter open: opens a process; nil for one that has ended, a throw where that cannot be told.
    init(
        _ bootID: String,
        _ identities: [ProcessIdentity],
        open: (ProcessIdentity) throws(SystemError) -> ProcessHandle? = PrimaryWatch.open
    ) {
        self.bootID = bootID
        self.identities = identities
        let known = identities.allSatisfy { $0.pid > 0 && $0.startTime > 0 }
        let isHere = known && !bootID.isEmpty && bootID == PrimaryIdentity.thisBoot
        let stop = isHere ? try? EventFD() : nil
        let opened = isHere ? try? identities.compactMap(open) : nil
        // Blind is not gone: what could not be opened (no descriptor left) is as unknown as another machine's process.
        isLocal = opened != nil && stop != nil
        processes = opened ?? []
        goneSince = Monitor(nil)
        self.stop = stop
        if isLocal { watch() }
    }

    /// Nil for a process that has ended already, nobody knows when.
    static func open(_ identity: ProcessIdentity) throws(SystemError) -> ProcessHandle? {
        do throws(SystemError) {
            return try ProcessHandle(pid: identity.pid, startTime: identity.startTime)
        } catch {
            guard error.code == ESRCH else { throw error }
            return nil
        }
    }

    deinit { stop?.signal() }

    /// Whether this watches the processes of `hello`: a session that comes back needs no second watch.
    func watches(_ hello: Hello) -> Bool {
        bootID == hello.bootID && identities == [hello.protectProcess, hello.guestProcess]
    }

    /// The thread holds what it needs, not this object: it ends when this object goes.
    private func watch() {
        guard let stop else { return }
        let processes = processes
        let goneSince = goneSince
        let thread = try? WorkerThread("primary-watch") {
            for process in processes {
                var entries = [Poll.Entry(stop.descriptor.raw), Poll.Entry(process.descriptor.raw)]
                while !process.hasEnded {
                    Poll.wait(&entries, milliseconds: -1)
                    if entries[0].isReady { return }
                }
            }
            goneSince.signal { $0 = Instant(nanoseconds: Clock.boot) }
        }
        thread?.detach()
    }

    /// When the last of them ended, as seen from here; nil while one lives, or if they are not of this machine.
    var primaryGoneSince: Instant? {
        guard isLocal, processes.allSatisfy(\.hasEnded) else { return nil }
        // The watching thread may be a moment behind.
        let deadline = Clock.monotonic + 1_000_000_000
        return goneSince.wait(until: deadline) { $0 } ?? Instant(nanoseconds: Clock.boot)
    }
}
