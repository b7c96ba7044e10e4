import SystemSupport

/// `remusd demo`: one round after another, each in a directory of its own.
package struct Demo {
    private let options: DemoOptions
    private let patience: DemoPatience
    private let say: (String) -> Void

    /// - Parameter say: shows progress, a line at a time.
    package init(_ options: DemoOptions, _ patience: DemoPatience, say: @escaping (String) -> Void) {
        self.options = options
        self.patience = patience
        self.say = say
    }

    /// Plays all rounds, or those up to the first that shows a loss. What was started is gone when this returns.
    /// - Throws: `DemoError`, `SystemError`, after the processes' last words were shown and their directory kept.
    package func run() throws -> DemoReport {
        var report = DemoReport(options)
        for number in 1...max(1, options.rounds) {
            let label = options.rounds > 1 ? "round \(number)/\(options.rounds): " : ""
            let round = try play(number) { say(label + $0) }
            report.rounds.append(round)
            if !report.isGood { break }
        }
        return report
    }

    private func play(_ number: Int, _ say: @escaping (String) -> Void) throws -> DemoRound {
        try patience.check()
        let stage = try DemoStage(patience)
        do {
            let round = try DemoPlay(options, round: number, on: stage, patience, say: say).run()
            let isGood = round.lost == 0 && round.problems.isEmpty
            if !isGood { showLastWords(stage, say) }
            stage.clear(keepingDirectory: !isGood)
            return round
        } catch DemoError.interrupted {
            stage.clear(keepingDirectory: false)
            throw DemoError.interrupted
        } catch {
            say("FAILED: \(error)")
            showLastWords(stage, say)
            stage.clear(keepingDirectory: true)
            throw error
        }
    }

    private func showLastWords(_ stage: DemoStage, _ say: (String) -> Void) {
        say("the processes' last words (all of them stay in \(stage.directory)):\n\(stage.tails())")
    }
}
