import Checkpoint
import Glibc
import SystemSupport

/// Watches a primary's processes where they run on this very machine: the one case in which a standby can see for
/// itself that guest and protect are gone.
final class PrimaryWatch: Sendable {
    private let processes: [ProcessHandle]
    /// True if the processes run on this machine and could be told apart from later ones.
    private let isLocal: Bool
    private let goneSince: Monitor<Instant?>

    /// Watches the processes that a hello names.
    convenience init(_ hello: Hello, sawItLive: Bool) {
        self.init(hello.bootID, [hello.protectProcess, hello.guestProcess], sawItLive: sawItLive)
    }

    /// Watches the processes that an adopted image remembers.
    convenience init(_ image: StandbyImage, sawItLive: Bool) {
        self.init(image.primaryBootID, [image.protectProcess, image.guestProcess], sawItLive: sawItLive)
    }

    private init(_ bootID: String, _ identities: [ProcessIdentity], sawItLive: Bool) {
        let known = identities.allSatisfy { $0.pid > 0 && $0.startTime > 0 }
        isLocal = known && !bootID.isEmpty && bootID == PrimaryIdentity.thisBoot
        // One that cannot be opened any more has ended already, we do not know when.
        processes =
            isLocal ? identities.compactMap { try? ProcessHandle(pid: $0.pid, startTime: $0.startTime) } : []
        goneSince = Monitor(nil)
        if isLocal { watch() }
    }

    private func watch() {
        let processes = processes
        let goneSince = goneSince
        _ = try? WorkerThread("primary-watch") {
            for process in processes { process.waitForEnd(milliseconds: -1) }
            goneSince.signal { $0 = Instant(nanoseconds: Clock.boot) }
        }
    }

    /// When the last of them ended, as seen from here; nil while one lives, or if they are not of this machine.
    var primaryGoneSince: Instant? {
        guard isLocal, processes.allSatisfy(\.hasEnded) else { return nil }
        // The watching thread may be a moment behind.
        let deadline = Clock.monotonic + 1_000_000_000
        return goneSince.wait(until: deadline) { $0 } ?? Instant(nanoseconds: Clock.boot)
    }
}
