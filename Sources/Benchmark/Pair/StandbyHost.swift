import Checkpoint
import Daemon
import Glibc
import SystemSupport
import Transport
import XenStream

/// The daemon's standby with its guardian, in this process: the images need not outlive it.
final class StandbyHost: Sendable {
    private let service: StandbyService

    /// A standby that listens on loopback.
    /// - Parameter hooks: the directory of those that it runs; nil: the machine's.
    init(
        _ paths: Paths,
        _ security: LinkSecurity,
        activator: any GuestActivator = NoActivator(),
        hooks: String? = nil
    ) throws {
        try Self.startGuardian(at: try paths.guardianSocket())
        var options = StandbyOptions(listen: SocketAddress(host: "127.0.0.1", port: 0), paths: paths)
        options.security = security
        if let hooks { options.hooks = HookOptions(directory: hooks) }
        let service = try StandbyService(options, activator: activator)
        self.service = service
        try WorkerThread("standby") { service.run() }.detach()
    }

    /// Where primaries connect.
    var address: SocketAddress { service.address }

    /// Serves a connection that is there already.
    func serve(_ socket: Descriptor) throws { try service.serve(socket, peer: "benchmark") }

    /// The committed image of a guest.
    func image(of guest: String) -> StandbyImage? { service.image(of: guest) }

    /// Activates a guest.
    func activate(_ guest: String, _ order: ActivateRequest) throws -> ActivateReply {
        guard let reply = service.activate(guest, order) else {
            throw BenchError("the standby knows no guest \(guest)")
        }
        return reply
    }

    /// Whether a connection of its primary is served, or what came on it not dealt with.
    func isServing(_ guest: String) -> Bool { service.isServing(guest) }

    /// When its primary was heard last; nanoseconds of the boot clock.
    func lastHeard(of guest: String) -> UInt64? { service.lastContact(of: guest)?.nanoseconds }

    /// Of the image's newest epoch, once it is applied.
    func digest() throws -> MemoryDigest { try MemoryDigest(of: settle()) }

    /// Waits until the image's newest epoch is applied.
    @discardableResult
    func settle() throws -> StandbyImage {
        guard let image = image(of: BenchGuest.name) else {
            throw BenchError("the standby has no image")
        }
        for _ in 0..<1000 where image.appliedEpoch != image.epoch { usleep(10_000) }
        return image
    }

    /// No more primaries.
    func stop() { service.stop() }

    private static func startGuardian(at path: String) throws {
        let started = Monitor(String?.none)
        try WorkerThread("guardian") {
            do throws(SystemError) {
                try Guardian(path: path).run { started.signal { $0 = "" } }
            } catch {
                started.signal { $0 = "\(error)" }
            }
        }.detach()
        let trouble =
            started.wait(until: Clock.monotonic + 10_000_000_000) { $0 } ?? "the guardian does not start"
        guard trouble.isEmpty else { throw BenchError(trouble) }
    }
}

extension MemoryDigest {
    /// Of the pages that an image holds data of.
    package init(of image: StandbyImage) throws {
        let snapshot = try ImageSnapshot(of: image, limit: 1024)
        let entries = UnsafeMutableBufferPointer<PageEntry>.allocate(capacity: 1024)
        let contents = UnsafeMutableRawBufferPointer.allocate(byteCount: 1024 * guestPageSize, alignment: 64)
        defer {
            entries.deallocate()
            contents.deallocate()
        }
        self.init()
        while true {
            let (count, _) = try snapshot.next(entries: entries, contents: contents)
            guard count > 0 else { return }
            var offset = 0
            for entry in entries[..<count] where entry.type.carriesData {
                add(
                    Int(entry.pfn),
                    UnsafeRawBufferPointer(rebasing: contents[offset..<offset + guestPageSize])
                )
                offset += guestPageSize
            }
        }
    }
}

/// Nothing is activated here.
private struct NoActivator: GuestActivator {
    func runningGuest(named name: String, uuid: GuestUUID, unfinished: UnfinishedStart?) -> ActivatedGuest? {
        nil
    }
    func outlook(for description: GuestDescription) -> ActivationOutlook { ActivationOutlook() }
    func missingResources(for request: ActivationRequest) -> [String] { ["a benchmark activates nothing"] }
    func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest {
        throw GuestError(guest: request.description.name, reason: "a benchmark activates nothing")
    }
}
