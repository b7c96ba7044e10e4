import Checkpoint
import Glibc
import SystemSupport
import Testing
import XenStream

@testable import Daemon

@Suite struct DemoTests {
    private func replies(_ text: String, piece: Int) throws -> [RESPReply] {
        var reader = RESPReader()
        var found: [RESPReply] = []
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            Array(bytes.prefix(piece)).withUnsafeBytes { reader.append($0) }
            bytes = bytes.dropFirst(piece)
            while let reply = try reader.next() { found.append(reply) }
        }
        return found
    }

    @Test(arguments: [1, 2, 3, 7, 1000])
    func answersComeInPiecesOfAnySize(piece: Int) throws {
        let text = "+OK\r\n:42\r\n$-1\r\n$4\r\na\r\nb\r\n-ERR no\r\n:-7\r\n$0\r\n\r\n"
        let expected: [RESPReply] = [
            .simple("OK"), .integer(42), .bulk(nil), .bulk(Array("a\r\nb".utf8)), .error("ERR no"),
            .integer(-7),
            .bulk([]),
        ]
        #expect(try replies(text, piece: piece) == expected)
    }

    @Test(arguments: ["?\r\n", ":x\r\n", "$-2\r\n"])
    func whatIsNoAnswerIsRefused(text: String) {
        #expect(throws: RESPError.self) { try replies(text, piece: 1000) }
    }

    /// A connection that sent three keys and three increments of c0, of which two each were acknowledged.
    private func ledger(answers: [Int64] = [1, 2]) -> DemoLedger {
        var ledger = DemoLedger(connection: 0, seed: 7, keyLimit: 1000)
        var random = SplitMix(state: 1)
        var (sets, increments) = (0, 0)
        while sets < 3 || increments < 3 {
            let request = ledger.next(&random)
            switch request {
            case .set:
                if sets < 2 { ledger.answered(request, .simple("OK")) }
                sets += 1
            case .increment(let counter):
                guard counter == 0 else { continue }
                if increments < answers.count { ledger.answered(request, .integer(answers[increments])) }
                increments += 1
            }
        }
        return ledger
    }

    private func findings(_ ledger: DemoLedger, counter: Int64 = 2) -> DemoAudit.Findings {
        var found = DemoAudit.Findings()
        found.values = [ledger.sets.indices.map { Array(ledger.value($0).utf8) }]
        found.counters = [counter] + [Int64](repeating: 0, count: DemoLedger.counters - 1)
        found.size = Int64(ledger.sets.count + 1)
        return found
    }

    @Test func whatIsThereIsNotLost() {
        let ledger = ledger()
        let audit = DemoAudit([ledger], findings(ledger))
        #expect(audit.lost == 0 && audit.problems.isEmpty)
    }

    @Test func anAcknowledgedKeyThatIsGoneIsLost() {
        let ledger = ledger()
        var found = findings(ledger)
        found.values[0][0] = nil
        found.values[0][1] = Array("other".utf8)
        #expect(DemoAudit([ledger], found).lost == 2)
    }

    @Test func aKeyNobodyWasToldOfMayBeGoneButNotBeAnother() {
        let ledger = ledger()
        var found = findings(ledger)
        found.values[0][2] = nil
        #expect(DemoAudit([ledger], found).problems.isEmpty)
        found.values[0][2] = Array("other".utf8)
        let audit = DemoAudit([ledger], found)
        #expect(audit.lost == 0 && audit.problems.count == 1)
    }

    @Test func aCounterBehindItsAnswersIsLost() {
        let ledger = ledger()
        #expect(DemoAudit([ledger], findings(ledger, counter: 1)).lost == 1)
    }

    @Test func aCounterPastWhatWasSentIsAProblem() {
        let ledger = ledger()
        let sent = Int64(ledger.increments[0])
        #expect(DemoAudit([ledger], findings(ledger, counter: sent)).problems.isEmpty)
        #expect(DemoAudit([ledger], findings(ledger, counter: sent + 1)).problems.count == 1)
    }

    @Test func anAnswerGivenTwiceIsALostIncrement() {
        let ledger = ledger(answers: [2, 2])
        #expect(!ledger.problems.isEmpty)
        #expect(DemoAudit([ledger], findings(ledger)).lost == 1)
    }

    @Test func aReportEndsWithWhatWasLost() {
        var report = DemoReport(DemoOptions(seed: 3))
        report.rounds = [DemoRound(round: 1, seed: 3), DemoRound(round: 2, seed: 4)]
        #expect(report.isGood && report.text.hasSuffix("\nlost 0\n"))
        report.rounds[1].lost = 5
        #expect(!report.isGood && report.text.hasSuffix("\nlost 5\n"))
    }

    @Test func aRelayCarriesNothingWhileItIsCut() throws {
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        let relay = try LinkRelay(to: try TCP.localAddress(of: listener))
        defer { relay.stop() }
        let near = try TCP.connect(to: relay.address, milliseconds: 1000)
        #expect(Poll.wait(listener.raw, milliseconds: 2000))
        let far = try #require(try TCP.accept(listener))
        func send(_ text: String) throws { _ = try Array(text.utf8).withUnsafeBytes { try near.sendNow($0) } }
        func receive(milliseconds: Int32) throws -> Int {
            guard Poll.wait(far.raw, milliseconds: milliseconds) else { return 0 }
            var bytes = [UInt8](repeating: 0, count: 100)
            return try bytes.withUnsafeMutableBytes { try far.receiveNow(into: $0) } ?? 0
        }
        try send("abc")
        #expect(try receive(milliseconds: 2000) == 3)
        relay.setForwarding(false)
        try send("de")
        #expect(try receive(milliseconds: 100) == 0)
        relay.setForwarding(true)
        #expect(try receive(milliseconds: 2000) == 2)
    }
}
