import Glibc
import SystemSupport

/// Runs the real program and says how it ended.
struct Program {
    let directory: TemporaryDirectory

    struct Result {
        let exitCode: Int32
        let output: String
        let error: String
    }

    /// `remusd` beside the program that runs the tests.
    static var path: String {
        let own = ChildProcess.ownPath
        return String(own[..<(own.lastIndex(of: "/") ?? own.endIndex)]) + "/remusd"
    }

    /// Runs `remusd` with `arguments` to its end, with `directory` as its runtime and state directory.
    func run(_ arguments: String..., runtime: String? = nil) throws -> Result {
        try run(arguments, runtime: runtime)
    }

    /// The same with the arguments as a list.
    func run(_ arguments: some Collection<String>, runtime: String? = nil) throws -> Result {
        let id = UInt32.random(in: .min ... .max)
        let (out, err) = (directory.file("out.\(id)"), directory.file("err.\(id)"))
        let pid = try ChildProcess.spawn(
            Self.path,
            Array(arguments),
            inherited: [1: create(out), 2: create(err)],
            environment: [
                "REMUSD_RUNTIME_DIR=\(runtime ?? directory.path)", "REMUSD_STATE_DIR=\(directory.path)",
                "PATH=/usr/bin:/bin",
            ]
        )
        return Result(
            exitCode: ChildProcess.reap(pid)?.shellCode ?? -1,
            output: SmallFile.read(out) ?? "",
            error: SmallFile.read(err) ?? ""
        )
    }

    private func create(_ path: String) throws -> Descriptor {
        let raw = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw SystemError("create \(path)") }
        return Descriptor(owning: raw)
    }
}
