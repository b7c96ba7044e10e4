import Checkpoint
import Daemon
import SystemSupport
import Transport

@testable import Benchmark

/// A standby, and a real engine that protects a guest to it, both in this process.
final class SidePair {
    let host: StandbyHost
    let side: EngineSide
    private let directory: TemporaryDirectory

    /// Starts both; the first epoch is committed then.
    init(
        _ guest: any EngineGuest,
        over link: LinkKind = .tcp,
        interval: TimeSpan = .microseconds(1),
        sweepsFrom sweeps: Int? = nil,
        encoding: EncodingChoice = .plain,
        watch: (any EpochWatch)? = nil
    ) throws {
        directory = try TemporaryDirectory()
        let paths = Paths(runtime: directory.path, state: directory.path)
        host = try StandbyHost(paths, .plaintext)
        var socket: Descriptor?
        if link == .unix {
            let (near, far) = try UnixSocket.pairOfStreams()
            try host.serve(far)
            socket = near
        }
        side = try EngineSide(
            guest,
            to: host.address,
            over: socket,
            .plaintext,
            paths,
            interval: interval,
            sweepsFrom: sweeps,
            processor: nil,
            encoding: encoding,
            watch: watch
        )
    }

    /// Ends both.
    func end() {
        side.end()
        host.stop()
    }
}
