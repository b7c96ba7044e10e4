import ArgumentParser
import Checkpoint
import Daemon
import Glibc
import SystemSupport

/// `remusd demo`
struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Show on one machine that a guest survives the loss of its host, with nothing lost.",
        discussion: """
            Starts a standby, a guest and its protection as real processes in directories of its own, writes to the guest \
            over several connections, kills in the middle, activates, reconnects, and checks every write that was \
            acknowledged. The last line of the report is 'lost N'. Needs neither root nor Xen.

              --kill primary         guest and protect together: the loss of the primary's host
              --kill guest           the guest alone: crashed, no takeover by itself, activated by hand
              --kill standby         standby and guardian: the guest goes on alone, a new standby protects it again
              --kill standby-daemon  the daemon alone: started again, it adopts its image and the session goes on
              --kill link            nothing arrives for a while: nobody takes over, the session resumes
            All but 'guest' end with the loss of the primary, so that the check is of what the standby had.

            Progress goes to standard error. --output json prints one object with the schema remusd.demo/1.

            EXIT CODES
              0    nothing was lost, and everything was as promised
              1    something was lost, or not as promised: says what, and keeps the processes' logs
              64   the command line makes no sense
              130  interrupted; nothing is left running
            """
    )

    @Option(help: "What dies: primary, guest, standby, standby-daemon or link.")
    var kill: DemoKill = .primary

    @Option(help: "How often, each time with all of it new.")
    var rounds: Int = 1

    @Option(help: "Chooses moments, keys and values (default: random; the report names it).")
    var seed: UInt64?

    @Option(help: "The guest's RAM.")
    var memory: ByteSize = ByteSize(bytes: 64 << 20)

    @Option(help: "From suspend to suspend.")
    var interval: TimeSpan = .milliseconds(50)

    @Option(help: "How long clients write, before and after what happens, together.")
    var duration: TimeSpan = .seconds(4)

    @Option(help: "text or json.")
    var output: OutputFormat = .text

    func validate() throws {
        guard (1...10_000).contains(rounds) else {
            throw ValidationError("--rounds \(rounds): give 1 to 10000.")
        }
        guard (16 << 20...8 << 30).contains(memory.bytes) else {
            throw ValidationError("--memory \(memory): give 16MiB to 8GiB.")
        }
        guard interval >= .milliseconds(1) else {
            throw ValidationError("--interval \(interval): give 1ms or more.")
        }
        guard duration >= .milliseconds(500), duration <= .seconds(3600) else {
            throw ValidationError("--duration \(duration): give 500ms to 1h.")
        }
    }

    func run() throws {
        Signals.ignore([SIGPIPE])
        let patience = DemoPatience()
        let waiter = try SignalWaiter { _ in patience.interrupt() }
        defer { withExtendedLifetime(waiter) {} }
        var options = DemoOptions(seed: seed ?? UInt64.random(in: 0..<1 << 32))
        options.kill = kill
        options.rounds = rounds
        options.memory = memory
        options.interval = interval
        options.duration = duration
        Console.note("demo: \(kill.story) (--seed \(options.seed))")
        let report: DemoReport
        do {
            report = try Demo(options, patience, say: { Console.note("demo: \($0)") }).run()
        } catch DemoError.interrupted {
            Console.note("demo: interrupted; nothing is left running")
            throw ExitCode(130)
        } catch {
            throw Console.failure(
                "the demo did not get to its end (--seed \(options.seed)): \(error)",
                code: 1
            )
        }
        if output == .json {
            try Console.put(json: report)
        } else {
            Console.put(report.text)
        }
        if !report.isGood { throw ExitCode(1) }
    }
}

extension DemoKill: ExpressibleByArgument {}
