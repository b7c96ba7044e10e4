import ArgumentParser
import Benchmark
import Daemon
import Glibc
import SystemSupport

/// `remusd-bench`: measures remusd beside its peer and the machine's own limits.
@main
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remusd-bench",
        abstract: "Measures remusd beside its peer and the machine's own limits, in one run.",
        discussion: """
            The engine, the transport and the standby are the daemon's own code; the guest is memory of this process, which \
            suspends for nothing and knows its dirty pages. What stands beside ours is measured in the same run, in turns. \
            'scripts/bench' builds all of it and runs it; docs/performance.md says how to read the table.

            Two processors are used, the first for the primary and the second for the standby, and 6 GiB of memory. The \
            figures are worth as much as the machine is quiet.

            EXIT CODES
              0   measured; whether the bars are met is in the table, and no error
              1   something that was asked for could not be measured; with --guard, also a ratio that is twice far from its bar
              64  the command line makes no sense
            """,
        version: BuildVersion.text
    )

    @Argument(
        help: "What to measure: \(MeasureID.allCases.map(\.rawValue).joined(separator: ", ")). (default: all)"
    )
    var measures: [MeasureID] = []

    @Option(help: "text: a table; json: one document.")
    var output: OutputForm = .text

    @Flag(help: "Few epochs: for ratios, not for figures.")
    var short = false

    @Flag(help: "Fail where a ratio misses its bar by half as much again, twice: for tests, with --short.")
    var `guard` = false

    @Option(
        help:
            "The folder of what is measured beside ours, as scripts/bench builds it. What is missing is left out."
    )
    var tools: String?

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        // Each pair's end is a loss to somebody, and no news.
        Log.bootstrap { $0 == "REMUSD_LOG" ? Paths.environment($0) ?? "error" : Paths.environment($0) }
        if let code = BenchRole.run(arguments) { Glibc.exit(code) }
        main(nil)
    }

    func run() throws {
        var options = BenchOptions()
        options.measures = MeasureID.allCases.filter { measures.contains($0) }
        options.isShort = short
        options.tools = tools
        let bench = Bench(options)
        let report = bench.run()
        switch output {
        case .text: print(report.text, terminator: "")
        case .json: print(try ControlJSON.pretty(report))
        }
        if !measures.isEmpty || `guard`, !report.missing.isEmpty { throw ExitCode(1) }
        if `guard` { try watch(bench, options) }
    }

    /// Measures once more what is far from its bar. Of two documents standard output would be none: what comes of it is said.
    private func watch(_ bench: Bench, _ options: BenchOptions) throws {
        let first = RatioGuard(bench.report)
        var twice: [Row] = []
        if !first.farOff.isEmpty {
            var again = options
            again.measures = first.measures
            twice = first.confirmed(by: RatioGuard(Bench(again).run()))
        }
        for row in twice { bench.say("\(row.measure.rawValue), \(row.title): far from its bar, twice") }
        bench.say(
            "guard: \(first.looked) ratios, \(first.farOff.count) far from their bars, \(twice.count) twice"
        )
        if first.looked == 0 || !twice.isEmpty { throw ExitCode(1) }
    }
}

/// `--output`
enum OutputForm: String, CaseIterable, ExpressibleByArgument {
    case text, json
}

extension MeasureID: ExpressibleByArgument {
    /// In either case: `b1` is `B1`.
    package init?(argument: String) { self.init(rawValue: argument.uppercased()) }
}
