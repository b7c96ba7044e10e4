import Daemon
import Testing

/// How pages are sent, as `--encoding` or REMUSD_ENCODING chooses it.
@Suite struct EncodingChoiceTests {
    let directory: TemporaryDirectory
    let program: Program

    init() throws {
        directory = try TemporaryDirectory()
        program = Program(directory: directory)
    }

    @Test(arguments: [
        (String?.none, EncodingChoice?.none), ("", nil), ("plain", .plain), ("lz4", .lz4), ("delta", .delta),
    ])
    func theVariable(_ text: String?, _ expected: EncodingChoice?) throws {
        #expect(try EncodingChoice.choice(text) == expected)
    }

    @Test func anotherWordIsRefusedWithTheRightOnes() {
        let error = #expect(throws: ValueError.self) { try EncodingChoice.choice("zstd") }
        #expect(error?.description.contains("plain or lz4 or delta") == true)
    }

    @Test(arguments: ["zstd", ""])
    func anotherWordOnTheCommandLineIsUsage(_ word: String) throws {
        let result = try program.run("protect", "web1", "--to", "127.0.0.1:1", "--encoding", word)
        #expect(result.exitCode == 64)
        #expect(result.error.contains("delta"))
    }
}
