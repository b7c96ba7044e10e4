import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// Nobody waits for whoever reads the log.
@Suite(.timeLimit(.minutes(1))) struct LogSinkTests {
    /// Fills a pipe, to the last byte that goes.
    private func fill(_ end: Descriptor) throws {
        try end.setNonBlocking(true)
        let bytes = [UInt8](repeating: UInt8(ascii: "x"), count: 4096)
        while write(end.raw, bytes, bytes.count) > 0 {}
        while write(end.raw, bytes, 1) > 0 {}
        try end.setNonBlocking(false)
    }

    private func takeAll(_ end: Descriptor) throws -> String {
        try end.setNonBlocking(true)
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(end.raw, &chunk, chunk.count)
            guard count > 0 else { break }
            all += chunk[..<count]
        }
        return String(decoding: all.drop { $0 == UInt8(ascii: "x") }, as: UTF8.self)
    }

    @Test func aPipeThatNobodyReadsIsNotWaitedFor() throws {
        let pipe = try Pipe.create()
        let sink = LogSink(pipe.write.raw)
        sink.write("one\n") { "\($0) missing\n" }
        #expect(try takeAll(pipe.read) == "one\n")
        try fill(pipe.write)
        for _ in 0..<3 { sink.write("lost\n") { "\($0) missing\n" } }
        #expect(try takeAll(pipe.read) == "")
        sink.write("two\n") { "\($0) missing\n" }
        sink.write("three\n") { "\($0) missing\n" }
        #expect(try takeAll(pipe.read) == "3 missing\ntwo\nthree\n")
        // The other opening of the pipe, which others share, waits as before.
        #expect(fcntl(pipe.write.raw, F_GETFL) & O_NONBLOCK == 0)
    }

    @Test func soIsASocket() throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        let sink = LogSink(near.raw)
        let line = String(repeating: "y", count: 999) + "\n"
        for _ in 0..<5000 { sink.write(line) { "\($0) missing\n" } }
        let taken = try takeAll(far).utf8.count
        #expect(taken > 0 && taken < 5000 * 1000)
        sink.write("two\n") { "\($0 > 0 ? "some" : "none") missing\n" }
        #expect(try takeAll(far).hasSuffix("some missing\ntwo\n"))
    }

    @Test func aLineThatWasTakenInPartEndsBeforeTheNext() throws {
        let pipe = try Pipe.create()
        let sink = LogSink(pipe.write.raw)
        // More than a pipe takes (pipe(7)).
        sink.write(String(repeating: "x", count: 1 << 20) + "\n") { "\($0) missing\n" }
        _ = try takeAll(pipe.read)
        sink.write("two\n") { "\($0) missing\n" }
        #expect(try takeAll(pipe.read) == "\n1 missing\ntwo\n")
    }

    /// The real program, whose standard error nobody reads.
    @Test func aStandbyBeginsWhateverBecomesOfItsLog() throws {
        let directory = try TemporaryDirectory()
        let pipe = try Pipe.create()
        try fill(pipe.write)
        let output = try SmallFile.openLog(directory.file("out"))
        let pid = try ChildProcess.spawn(
            Program.path,
            // Plaintext from everywhere is warned of in the log.
            ["standby", "--listen", "0.0.0.0:0", "--insecure-plaintext"],
            inherited: [1: output, 2: pipe.write],
            environment: [
                "REMUSD_RUNTIME_DIR=\(directory.path)", "REMUSD_STATE_DIR=\(directory.path)",
                "PATH=/usr/bin:/bin",
            ]
        )
        defer {
            kill(pid, SIGKILL)
            ChildProcess.reap(pid)
        }
        func said() -> String { SmallFile.read(directory.file("out")) ?? "" }
        for _ in 0..<2000 where !said().contains("standby ready") { usleep(10_000) }
        #expect(said().contains("standby ready"))
        let words = said().split(separator: " ")
        if let at = words.firstIndex(of: "guardian"), at + 1 < words.count {
            if let guardian = Int32(words[at + 1].prefix { $0.isNumber }) { kill(guardian, SIGKILL) }
        }
    }
}
