import Daemon
import Glibc
import SystemSupport
import Transport

/// The standby's side of a pair, in a process and on a processor of its own. It is told what to do line by line.
enum StandbyRole {
    static let word = "standby"

    /// Serves until its control socket ends.
    static func run(processor: Int, _ link: LinkKind, _ paths: Paths) throws {
        try ProcessorPin.pin(to: processor)
        Signals.ignore([SIGPIPE])
        let lines = LineChannel(Descriptor(owning: HelperProcess.control), to: "the benchmark")
        let security: LinkSecurity = try link == .tls ? HostIdentity.security(paths) : .plaintext
        let host = try StandbyHost(paths, security)
        if link == .unix { try host.serve(Descriptor(owning: HelperProcess.connection)) }
        try lines.say("ready \(host.address)")
        while let line = try lines.hear(seconds: 86_400) {
            switch line {
            case "digest":
                let digest = try host.digest()
                try lines.say("digest \(digest)")
            case "processor":
                try host.settle()
                try lines.say("processor \(Clock.process)")
            case "resident":
                let bytes = try ResidentMemory.own()
                try lines.say("resident \(bytes)")
            default: throw BenchError("the standby cannot '\(line)'")
            }
        }
        host.stop()
    }
}
