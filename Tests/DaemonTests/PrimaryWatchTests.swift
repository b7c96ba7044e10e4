import Checkpoint
import Glibc
import SystemSupport
import Testing
import XenStream

@testable import Daemon

@Suite struct PrimaryWatchTests {
    private func hello(protect: ProcessIdentity, guest: ProcessIdentity) -> Hello {
        .sample(
            populatedPages: 1,
            epochCapacity: 1 << 16,
            bootID: PrimaryIdentity.thisBoot,
            protectProcess: protect,
            guestProcess: guest
        )
    }

    private static let me = ProcessIdentity(
        pid: getpid(),
        startTime: ProcessHandle.startTime(of: getpid()) ?? 0
    )
    /// A process number of mine that somebody else had before.
    private static let gone = ProcessIdentity(pid: getpid(), startTime: 1)

    @Test func aLivingProcessIsNotGone() {
        #expect(PrimaryWatch(hello(protect: Self.me, guest: Self.gone)).primaryGoneSince == nil)
    }

    @Test func processesOfOtherStartTimesHaveEnded() {
        #expect(PrimaryWatch(hello(protect: Self.gone, guest: Self.gone)).primaryGoneSince != nil)
    }

    @Test func aProcessThatCannotBeOpenedIsNotGone() throws {
        let watch = PrimaryWatch(PrimaryIdentity.thisBoot, [Self.gone, Self.gone]) {
            _ throws(SystemError) in
            throw SystemError("open a process", code: EMFILE)
        }
        #expect(watch.primaryGoneSince == nil)
    }
}
