import Checkpoint
import Glibc
import Logging
import SystemSupport

@testable import Daemon

/// A directory of hooks, which write what they are told into a file beside it.
struct HookFolder {
    let directory: TemporaryDirectory
    var path: String { directory.file("hooks.d") }
    var paths: Paths { Paths(runtime: directory.path, state: directory.path) }

    init() throws {
        directory = try TemporaryDirectory()
        guard mkdir(path, 0o700) == 0 else { throw SystemError("make \(path)") }
    }

    /// A hook made of shell; `$T` is the directory that is written to.
    func add(_ name: String, _ body: String) throws {
        try directory.write("#!/bin/sh\nT='\(directory.path)'\n\(body)\n", to: "hooks.d/\(name)")
        guard chmod("\(path)/\(name)", 0o700) == 0 else { throw SystemError("make \(name) executable") }
    }

    /// What is in a file of the directory, by line.
    func lines(_ file: String) -> [String] {
        (SmallFile.read(directory.file(file)) ?? "").split(separator: "\n").map(String.init)
    }

    /// The same once there are `count` of them.
    func lines(_ file: String, atLeast count: Int) -> [String] {
        for _ in 0..<3000 where lines(file).count < count { usleep(10_000) }
        return lines(file)
    }

    func runner(timeout: TimeSpan = .seconds(30), role: GuestRole = .standby) throws -> HookRunner {
        HookRunner(
            HookOptions(directory: path, timeout: timeout),
            paths,
            role: role,
            try GuestName("web1"),
            Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }
}
