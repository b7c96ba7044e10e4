import Checkpoint
import Glibc
import SystemSupport
import Testing
import XenStream

@testable import Daemon

/// What a standby says of a guest.
@Suite struct StandbyStatusTests {
    let directory: TemporaryDirectory
    let paths: Paths

    init() throws {
        directory = try TemporaryDirectory()
        paths = Paths(runtime: directory.path, state: directory.path)
    }

    private var hello: Hello {
        .sample(
            guest: "web1",
            uuid: .random(),
            pages: 64,
            address: "127.0.0.1:6400",
            generation: 3,
            host: "primary.example"
        )
    }

    /// The status of a guest whose primary is away, with an image or without one.
    private func status(_ state: StandbyFacts.State, hasImage: Bool) throws -> GuestStatus {
        let pid = try ChildProcess.spawn(Program.path, ["guardian", "--socket", paths.guardianSocket()])
        defer {
            kill(pid, SIGKILL)
            _ = ChildProcess.reap(pid)
        }
        for _ in 0..<500 where (try? UnixSocket.connect(to: paths.guardianSocket())) == nil { usleep(10_000) }
        let image = hasImage ? try StoredImage.create(for: hello) : nil
        image?.image.seal(0, length: 0, at: StandbyGuest.now)
        let guest = StandbyGuest(
            name: try GuestName("web1"),
            paths: paths,
            guardian: try GuardianClient(path: paths.guardianSocket()),
            machine: StandbyMachine(
                facts: StandbyFacts(state: state, generation: 3),
                image: image?.facts,
                host: "standby.example"
            ),
            image: image
        )
        return guest.status(ceiling: 1 << 30, used: 0)
    }

    @Test func aCrashedGuestSaysSo() throws {
        let status = try status(.crashed, hasImage: true)
        #expect(status.state == .crashed)
        #expect(status.mayActivate)
        #expect(status.reasons == ["the guest crashed; activate it by hand: 'remusd activate web1'"])
        #expect(StatusText.table([status]).contains("-     the guest crashed; activate it by hand"))
    }

    @Test func aCrashedGuestWithoutItsImageIsNotToBeActivated() throws {
        let status = try status(.crashed, hasImage: false)
        #expect(status.state == .crashed)
        #expect(!status.mayActivate)
        #expect(status.reasons.first == "the guest crashed, and its image is lost")
    }

    @Test func aLostPrimaryIsNoCrash() throws {
        let status = try status(.image, hasImage: true)
        #expect(status.state == .peerLost)
        #expect(status.reasons.first?.contains("--confirm-fenced primary.example") == true)
    }
}
