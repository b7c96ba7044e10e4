import ArgumentParser
import Checkpoint
import Daemon
import Glibc

/// `remusd status`
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show which guests are protected, and why one is not.",
        discussion: """
            Asks every remusd process on this host: one line a guest and role, or everything about one guest if NAME \
            is given. A process that has died is shown as such (state "dead"), with what to do.

            --output json prints an array of objects with the schema remusd.status/1, one a guest and role, also when \
            NAME is given, where it has one or two elements. Keys: schema, guest, uuid, role, state, protected, \
            generation, session, epoch {sent, acked, committed}, last_ack_age_ms, held_bytes, may_activate, reasons[], \
            and more where they apply. What is not there yet, or nobody knows, is null.

            EXIT CODES
              0   shown (also when nothing is protected here)
              64  the command line makes no sense
              69  no process here knows NAME
              75  a process that may know NAME gives no answer
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            """
    )

    @Argument(help: "The guest; all of them if left out.", transform: GuestName.argument)
    var name: GuestName?

    @Option(help: "text or json.")
    var output: OutputFormat = .text

    @Flag(help: "Show it again every second, until interrupted.")
    var watch = false

    func run() throws {
        let paths = try Console.paths(for: name)
        let collector = StatusCollector(paths: paths)
        guard watch else {
            try show(try collector.collect(name), paths)
            return
        }
        while true {
            let report = try collector.collect(name)
            if output == .text, Terminal.isTerminal(STDOUT_FILENO) { Console.put("\u{1B}[H\u{1B}[J") }
            do {
                try show(report, paths)
            } catch is ExitCode {
                // A guest that is not known yet may come.
            }
            sleep(1)
        }
    }

    private func show(_ report: StatusReport, _ paths: Paths) throws {
        for note in report.notes { Console.note("Note: \(note)") }
        if output == .json { try Console.put(json: report.statuses) }
        if report.statuses.isEmpty, let name {
            if report.notes.isEmpty {
                throw Console.failure(
                    "no process here knows \(name); 'remusd status' shows those that are known",
                    code: Exit.unavailable
                )
            }
            throw Console.failure("no process that answers knows \(name)", code: Exit.tryAgain)
        }
        guard output == .text else { return }
        let style = TextStyle(color: Terminal.usesColor(STDOUT_FILENO))
        if report.statuses.isEmpty {
            Console.put(
                report.notes.isEmpty
                    ? "No guest is protected here, and no image is held.\n"
                    : "No process that answers knows a guest.\n"
            )
        } else if let name {
            Console.put(
                report.statuses.map { StatusText.paragraph($0, style: style) }.joined(separator: "\n")
            )
            if let words = Audit(paths).summary(of: name) { Console.put("\n\(words)\n") }
        } else {
            Console.put(StatusText.table(report.statuses, style: style))
        }
    }
}
