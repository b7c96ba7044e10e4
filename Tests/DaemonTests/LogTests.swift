import Daemon
import Logging
import Testing

@Suite struct LogTests {
    @Test func oneLineWhateverIsInIt() {
        let text = LogLine.text(
            .warning,
            component: "protect",
            message: "peer lost\nerror forged",
            metadata: ["guest": "web1", "epoch": "47", "why": "a \"b\" c", "none": "", "bytes": "a\u{1}b"]
        )
        #expect(
            text
                == #"warning protect peer lost\nerror forged bytes=a\u{1}b epoch=47 guest=web1 none="" why="a \"b\" c""#
        )
    }

    @Test func prioritiesOfSyslog() {
        #expect(Logger.Level.allCases.map(LogLine.priority) == [7, 7, 6, 5, 4, 3, 2])
    }
}
