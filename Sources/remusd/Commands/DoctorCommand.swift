import ArgumentParser
import Daemon
import Glibc

/// `remusd doctor`
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Say what is wrong on this host, and mend what a program can mend.",
        discussion: """
            One line a finding: ok, warn or fail, the check's name, what was found. Checks: directories, processes, contact \
            (with the other side), records, kernel, xen, plugs, guests, autostart. Without --fix nothing is changed.

            --fix removes plugs whose guest or interface is gone, lets guests run that a dead remusd protect left suspended, \
            ends the recording of their writes, and takes others' rights to remusd's directories away. It opens no plug.

            --output json prints one object with the schema remusd.doctor/1: schema, healthy, findings[] {check, level, \
            message, fix, fixed}.

            EXIT CODES
              0   nothing is wrong (there may be something to know), or it was mended
              1   something is wrong
              64  the command line makes no sense
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR makes no sense
            """
    )

    @Option(help: "text or json.")
    var output: OutputFormat = .text

    @Flag(help: "Mend what can be mended.")
    var fix = false

    func run() throws {
        let paths: Paths
        do {
            paths = try Paths()
        } catch {
            throw Console.failure("\(error)", code: Exit.configuration)
        }
        let report = Doctor(paths: paths).examine(fixing: fix)
        if output == .json {
            try Console.put(json: report)
        } else {
            Console.put(report.text(style: TextStyle(color: Terminal.usesColor(STDOUT_FILENO))))
        }
        if !report.healthy { throw ExitCode(1) }
    }
}
