import Checkpoint
import Glibc
import Logging
import SystemSupport

@testable import Daemon

/// A real standby over loopback, with a guardian, and real engines that protect one guest to it.
struct LoopbackPair {
    let guest: WritingGuest
    let service: StandbyService
    private let directory: TemporaryDirectory
    private let paths: Paths

    init(_ guest: WritingGuest) throws {
        self.guest = guest
        Signals.ignore([SIGPIPE])
        directory = try TemporaryDirectory()
        paths = Paths(runtime: directory.path, state: directory.path)
        try Guardian.serve(at: paths.guardianSocket())
        var options = StandbyOptions(listen: SocketAddress(host: "127.0.0.1", port: 0), paths: paths)
        options.log = CapturedLog().logger
        service = try StandbyService(
            options,
            activator: Activators(embedded: NoActivator(), xen: NoActivator())
        )
        let service = service
        try WorkerThread("standby") { service.run() }.detach()
    }

    /// An engine that protects on a thread of its own.
    /// - Parameter choose: changes the options.
    func protect(
        with output: FakeOutput = FakeOutput(),
        _ choose: (inout ProtectOptions) -> Void
    ) throws -> (engine: ProtectEngine, thread: WorkerThread) {
        var options = ProtectOptions(standby: service.address)
        choose(&options)
        let records = GenerationStore(
            paths,
            try GuestName("web1"),
            guest.description,
            peer: options.standby,
            aloneAfter: options.settings.aloneAfter
        )
        let engine = try ProtectEngine(
            guest: guest,
            output: output,
            options: options,
            identity: PrimaryIdentity(guestPID: 1),
            start: try records.begin(plugWasClosed: false),
            records: records,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        return (engine, try WorkerThread("protect") { _ = engine.run() })
    }

    /// Ends a protection, and the standby.
    func end(_ engine: ProtectEngine, _ thread: WorkerThread) {
        engine.requestUnprotect()
        thread.join()
        service.stop()
    }
}
