import Checkpoint
import Daemon
import SystemSupport
import Transport

/// The product's own engine and the product's own standby, in two processes on two processors.
final class EnginePair {
    private let primary: EngineSide
    private let standby: HelperProcess
    private let directory: TemporaryDirectory

    /// Starts both with a guest that costs nothing, and returns once the first epoch is committed.
    /// - Parameters:
    ///   - pages: of the guest, `filled` of which were written; 1 GiB, a quarter of it filled, if not said.
    ///   - zeros: those of them that hold nothing but zeros.
    convenience init(
        _ link: LinkKind,
        pages: Int = 1 << 18,
        filled: Int = 1 << 16,
        zeros: ZeroPages = ZeroPages(percent: 0),
        interval: TimeSpan,
        sweepsFrom sweeps: Int? = nil,
        encoding: EncodingChoice = .plain,
        watch: (any EpochWatch)? = nil,
        _ placement: Placement = .here
    ) throws {
        try self.init(
            link,
            of: { try BenchGuest(pages: pages, filled: filled, zeros: zeros) },
            interval: interval,
            sweepsFrom: sweeps,
            encoding: encoding,
            watch: watch,
            placement
        )
    }

    /// Starts both, and returns once the first epoch is committed.
    /// - Parameters:
    ///   - guest: makes the guest.
    ///   - interval: from suspend to suspend, at least.
    ///   - sweeps: pages of an epoch from which on it is swept before its pause; nil: it is not.
    ///   - encoding: of pages on their way.
    ///   - watch: sees the epochs go by.
    init(
        _ link: LinkKind,
        of guest: () throws -> any EngineGuest,
        interval: TimeSpan,
        sweepsFrom sweeps: Int? = nil,
        encoding: EncodingChoice = .plain,
        watch: (any EpochWatch)? = nil,
        _ placement: Placement
    ) throws {
        directory = try TemporaryDirectory()
        let paths = Paths(runtime: directory.path, state: directory.path)
        let security: LinkSecurity = try link == .tls ? Self.pairedWithItself(paths) : .plaintext
        let sockets = try link == .unix ? UnixSocket.pairOfStreams() : nil
        standby = try HelperProcess(
            "the standby",
            ChildProcess.ownPath,
            [BenchRole.word, StandbyRole.word, "\(placement.standby)", link.rawValue, directory.path],
            inherited: sockets.map { [HelperProcess.connection: $0.1] } ?? [:]
        )
        guard
            let address = try standby.lines.hear("ready", seconds: 30).first.flatMap({
                SocketAddress(String($0))
            })
        else { throw BenchError("the standby does not say where it is") }
        primary = try EngineSide(
            guest(),
            to: address,
            over: sockets?.0,
            security,
            paths,
            interval: interval,
            sweepsFrom: sweeps,
            processor: placement.primary,
            encoding: encoding,
            watch: watch
        )
    }

    /// Microseconds from the order to protect to the first commit.
    var syncTime: Double { primary.syncTime }

    /// Plays some epochs.
    func play(_ order: EpochOrder) throws -> [EpochSample] { try primary.play(order) }

    /// Sees that the standby's image is the guest's memory. Between orders.
    func checkImage() throws {
        try standby.lines.say("digest")
        let there = try standby.lines.hear("digest", seconds: 120).joined(separator: " ")
        let here = primary.digest.description
        guard here == there else {
            throw BenchError("the standby's image is not the guest's memory: \(here) here, \(there) there")
        }
    }

    /// The standby's process number.
    var standbyPID: Int32 { standby.pid }

    /// Bytes of the standby's process that are in memory.
    func standbyResident() throws -> Int { try Int(askStandby("resident")) }

    /// Nanoseconds of processor time that the standby's process has taken, all that it has to do with committed epochs included.
    func standbyProcessor() throws -> UInt64 { try askStandby("processor") }

    /// The number that the standby has to say to a word.
    private func askStandby(_ word: String) throws -> UInt64 {
        try standby.lines.say(word)
        guard let number = try standby.lines.hear(word, seconds: 30).first.flatMap({ UInt64($0) }) else {
            throw BenchError("the standby says no number to '\(word)'")
        }
        return number
    }

    /// Ends both.
    func end() {
        primary.end()
        standby.end()
    }

    /// TLS between a host and itself: it knows its own key.
    private static func pairedWithItself(_ paths: Paths) throws -> LinkSecurity {
        let key = try HostIdentity.load(paths)
        try PeerBook(paths).remember(HostName(PrimaryIdentity.hostName), key.pin, limits: PairingLimits())
        return try HostIdentity.security(paths)
    }
}
