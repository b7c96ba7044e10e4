import ArgumentParser
import Checkpoint
import Daemon

/// `--hooks` and `--hook-timeout`, of `standby` and `protect`.
struct HookArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Programs that are told what happens to a guest: each executable in this directory (docs/hooks.md).",
            valueName: "dir"
        )
    )
    var hooks = HookOptions.standard

    @Option(
        help: """
            Longest time one hook may take; then it is ended. All pre-activate hooks of an activation together have 10s, or \
            this if it is shorter (default: 1m).
            """,
        transform: TimeSpan.argument
    )
    var hookTimeout: TimeSpan = .seconds(60)

    func validate() throws {
        guard hooks.hasPrefix("/") else {
            throw ValidationError("--hooks \(hooks): give the whole path, from / on.")
        }
        guard hookTimeout >= .milliseconds(100), hookTimeout <= .seconds(3600) else {
            throw ValidationError("--hook-timeout \(hookTimeout): give 100ms to 1h.")
        }
    }

    var options: HookOptions { HookOptions(directory: hooks, timeout: hookTimeout) }
}
