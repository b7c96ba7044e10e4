import Daemon
import Glibc
import SystemSupport
import Testing

/// `remusd pair` on two hosts, which here are two state directories.
@Suite(.timeLimit(.minutes(1))) struct PairCommandTests {
    private let alpha: TemporaryDirectory, beta: TemporaryDirectory

    init() throws {
        alpha = try TemporaryDirectory()
        beta = try TemporaryDirectory()
    }

    /// Starts `remusd pair` on a host, with its person's answer ready; what it says goes to the file `said`.
    private func pair(_ host: TemporaryDirectory, _ arguments: String..., answer: String) throws -> Int32 {
        let (input, answers) = try Pipe.create()
        let text = Array((answer + "\n").utf8)
        try #require(write(answers.raw, text, text.count) == text.count)
        let raw = open(host.file("said"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        try #require(raw >= 0)
        let said = Descriptor(owning: raw)
        return try ChildProcess.spawn(
            Program.path,
            ["pair"] + arguments,
            inherited: [0: input, 1: said, 2: said],
            environment: ["REMUSD_RUNTIME_DIR=\(host.path)", "REMUSD_STATE_DIR=\(host.path)"]
        )
    }

    /// What follows `word` in a line of what a host's `pair` says, within ten seconds.
    private func said(_ host: TemporaryDirectory, _ word: String) throws -> String {
        for _ in 0..<1000 {
            let lines = (SmallFile.read(host.file("said")) ?? "").split(separator: "\n")
            if let line = lines.first(where: { $0.hasPrefix(word) }) {
                return line.dropFirst(word.count).trimmingPrefix { $0 == " " }.description
            }
            usleep(10_000)
        }
        Issue.record("no '\(word)': \(SmallFile.read(host.file("said")) ?? "")")
        return ""
    }

    private func exitCode(_ pid: Int32) -> Int32 { ChildProcess.reap(pid)?.shellCode ?? -1 }

    @Test(arguments: ["y", "n"])
    func twoPeopleCompareOneCode(_ answer: String) throws {
        let one = try pair(beta, "--listen", "127.0.0.1:0", "--guest", "web1", answer: "y")
        let address = try said(beta, "waiting at ").prefix { $0 != " " }.dropLast()
        let two = try pair(alpha, "--to", String(address), answer: answer)
        let codes = (try said(alpha, "code"), try said(beta, "code"))
        #expect(codes.0 == codes.1 && codes.0.count == 9)
        let agreed = answer == "y"
        #expect(exitCode(two) == (agreed ? 0 : 1))
        #expect(exitCode(one) == (agreed ? 0 : 1))
        for (host, other) in [(alpha, beta), (beta, alpha)] {
            let list = try Program(directory: host).run("pair", "list").output
            let pin = try Program(directory: other).run("pair", "pin").output.split(separator: " ").last ?? ""
            #expect(list.contains(pin.dropLast()) == agreed, "\(list)")
            #expect(list.contains("guests web1") == (agreed && host === beta))
        }
    }

    /// Nobody said no: a script may try again.
    @Test func whoeverSaysNothingIsNotANo() throws {
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        let address = try TCP.localAddress(of: listener)
        #expect(exitCode(try pair(alpha, "--to", "\(address)", answer: "y")) == 69)
    }
}
