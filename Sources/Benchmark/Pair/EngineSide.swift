import Checkpoint
import Daemon
import Glibc
import Logging
import Synchronization
import SystemSupport
import Transport

/// The product's own engine, on a thread and a processor of its own, which protects a guest of the benchmark's own.
final class EngineSide {
    private typealias Connect = @Sendable () throws(SystemError) -> PrimaryConnection

    private let guest: any EngineGuest
    private let engine: ProtectEngine
    private let thread: WorkerThread
    private var hasEnded = false
    /// Microseconds from the order to protect to the first commit.
    private(set) var syncTime = 0.0

    /// Starts to protect, and returns once the first epoch is committed.
    /// - Parameters:
    ///   - socket: the connection; nil: it is made to `address`.
    ///   - interval: from suspend to suspend, at least.
    ///   - sweeps: pages of an epoch from which on it is swept before its pause; nil: it is not.
    ///   - processor: nil: any.
    ///   - encoding: of pages on their way.
    ///   - watch: sees the epochs go by.
    init(
        _ guest: any EngineGuest,
        to address: SocketAddress,
        over socket: Descriptor?,
        _ security: LinkSecurity,
        _ paths: Paths,
        interval: TimeSpan,
        sweepsFrom sweeps: Int? = nil,
        processor: Int?,
        encoding: EncodingChoice = .plain,
        watch: (any EpochWatch)? = nil
    ) throws {
        self.guest = guest
        guest.watch = watch
        var options = ProtectOptions(standby: address)
        options.security = security
        options.encoding = encoding
        options.settings.interval = interval
        options.settings.sweepsFrom = sweeps
        // Whoever waits for a turn is not lost.
        options.settings.aloneAfter = .seconds(3600)
        options.settings.maxHold = .seconds(60)
        options.settings.maxPause = .seconds(10)
        if let socket { options.connect = Self.once(socket) }
        if let watch {
            let plain: Connect = { () throws(SystemError) in
                try PrimaryConnection(connectingTo: address, security: security)
            }
            options.connect = Self.shown(to: watch, options.connect ?? plain)
        }
        let records = GenerationStore(
            paths,
            try GuestName(BenchGuest.name),
            guest.description,
            peer: address,
            aloneAfter: options.settings.aloneAfter
        )
        let engine = try ProtectEngine(
            guest: guest,
            output: StampedOutput(of: guest),
            options: options,
            identity: PrimaryIdentity(guestPID: getpid()),
            start: try records.begin(plugWasClosed: false),
            records: records,
            log: Logger(label: "protect")
        )
        self.engine = engine
        thread = try WorkerThread("engine") {
            do throws(SystemError) {
                if let processor { try ProcessorPin.pin(to: processor) }
            } catch {
                return guest.turns.failed("\(error)")
            }
            guest.turns.began()
            let result = engine.run()
            guest.turns.failed("protection has ended: \(result)")
        }
        do {
            syncTime = try guest.turns.waitForSync(seconds: 120)
        } catch {
            end()
            throw error
        }
    }

    deinit { end() }

    /// A connection over a socket that is there, which there is one of.
    private static func once(_ socket: Descriptor) -> Connect {
        let given = Mutex<Descriptor?>(socket)
        return { () throws(SystemError) in
            guard let socket = given.withLock({ $0.take() }) else {
                throw SystemError("connect a second time", code: ENOTCONN)
            }
            return PrimaryConnection(over: socket)
        }
    }

    /// Connects like `connect`, and shows the connection to `watch`.
    private static func shown(to watch: any EpochWatch, _ connect: @escaping Connect) -> Connect {
        { () throws(SystemError) in
            let connection = try connect()
            watch.connected(connection)
            return connection
        }
    }

    /// Plays some epochs.
    func play(_ order: EpochOrder) throws -> [EpochSample] { try guest.turns.play(order, seconds: 300) }

    /// Of the guest's memory. Between orders.
    var digest: MemoryDigest { guest.digest }

    /// Ends protection. Once.
    func end() {
        guard !hasEnded else { return }
        hasEnded = true
        guest.turns.end()
        engine.requestUnprotect()
        thread.join()
    }
}
