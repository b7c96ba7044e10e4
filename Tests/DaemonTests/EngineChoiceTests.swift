import Daemon
import Testing

/// The engine that `--engine` or REMUSD_ENGINE chooses.
@Suite struct EngineChoiceTests {
    let directory: TemporaryDirectory
    let program: Program

    init() throws {
        directory = try TemporaryDirectory()
        program = Program(directory: directory)
    }

    @Test(arguments: [
        (String?.none, EngineChoice?.none), ("", nil), ("native", .native), ("libxenguest", .libxenguest),
    ])
    func theVariable(_ text: String?, _ expected: EngineChoice?) throws {
        #expect(try EngineChoice.choice(text) == expected)
    }

    @Test func anotherWordIsRefusedWithTheRightOnes() {
        let error = #expect(throws: ValueError.self) { try EngineChoice.choice("xen") }
        #expect(error?.description.contains("native or libxenguest") == true)
    }

    @Test(arguments: ["xen", ""])
    func anotherWordOnTheCommandLineIsUsage(_ word: String) throws {
        let result = try program.run("protect", "web1", "--to", "127.0.0.1:1", "--engine", word)
        #expect(result.exitCode == 64)
        #expect(result.error.contains("libxenguest"))
    }

    @Test func anEmbeddedGuestHasNoChoice() throws {
        let result = try program.run(
            "protect",
            "embedded:web1",
            "--to",
            "127.0.0.1:1",
            "--engine",
            "libxenguest"
        )
        #expect(result.exitCode == 64)
        #expect(result.error.contains("embedded"))
    }

    @Test func helpSaysWhatItCosts() throws {
        let result = try program.run("protect", "--help")
        #expect(result.output.contains("--engine"))
        #expect(result.output.contains("REMUSD_ENGINE"))
    }

    /// Nobody starts it by hand: without its parent it ends at once.
    @Test func theChildEndsWithoutItsParent() throws {
        let result = try program.run("libxenguest-save", "--domid", "1", "--parent", "1")
        #expect(result.exitCode == 1)
    }
}
