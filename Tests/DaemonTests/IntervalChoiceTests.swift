import Checkpoint
import Daemon
import Testing

/// `--interval`
@Suite struct IntervalChoiceTests {
    @Test(
        arguments: [
            ("50ms", .fixed(.milliseconds(50))), ("1s", .fixed(.seconds(1))),
            ("adaptive", .adaptive(.milliseconds(50))), ("adaptive:80ms", .adaptive(.milliseconds(80))),
            ("adaptive:5ms", .adaptive(.milliseconds(5))), ("adaptive:10s", .adaptive(.seconds(10))),
        ] as [(String, IntervalChoice)]
    )
    func reads(text: String, choice: IntervalChoice) throws {
        #expect(try IntervalChoice(parsing: text) == choice)
        #expect(try IntervalChoice(parsing: choice.description) == choice)
        var settings = ProtectSettings()
        choice.apply(to: &settings)
        #expect(IntervalChoice(settings) == choice)
    }

    @Test(arguments: [
        "adaptive:", "adaptive50ms", "adaptive:4ms", "adaptive:11s", "adaptive:fast", "Adaptive",
    ])
    func refuses(text: String) {
        let error = #expect(throws: ValueError.self) { try IntervalChoice(parsing: text) }
        #expect(error?.description.contains("write it like 50ms") == true)
    }
}
