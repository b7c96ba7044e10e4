import Glibc
import Logging
import SystemSupport
import Testing

@testable import Daemon

/// What people vouched for is on disk before it is done, and stays there.
@Suite struct AuditTests {
    private let directory: TemporaryDirectory
    private let paths: Paths
    private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    init() throws {
        directory = try TemporaryDirectory()
        paths = Paths(runtime: directory.path, state: directory.path)
    }

    private func entry(_ guest: String = "db") throws -> AuditEntry {
        var said = AuditEntry.Word()
        said.confirmFenced = "alpha"
        return AuditEntry(.continue, try GuestName(guest), uuid: "u", said: said, who: Speaker(.own))
    }

    private func lines() -> [Substring] {
        (SmallFile.read(paths.audit) ?? "").split(separator: "\n", omittingEmptySubsequences: false)
            .dropLast()
    }

    private func answer(_ outcome: WordOutcome) -> WordReply {
        WordReply(guest: "db", outcome: outcome, generation: 7, message: "m")
    }

    @Test func twoLinesForADecision() throws {
        let reply = try Audit(paths).witness(try entry(), log) {
            // Before anything of it is true.
            #expect(lines().count == 1)
            return answer(.done)
        }
        #expect(reply.outcome == .done)
        let entries = try lines().map { try ControlJSON.decode(AuditEntry.self, from: Array($0.utf8)) }
        #expect(entries.map(\.outcome) == ["taken", "done"] && entries[0].id == entries[1].id)
        #expect(entries[0].schema == "remusd.audit/1" && entries[0].host == PrimaryIdentity.hostName)
        #expect(entries[0].said.confirmFenced == "alpha" && entries[0].said.force == nil)
        #expect(entries[0].generationAfter == nil && entries[1].generationAfter == 7)
        #expect(entries[0].who?.uid == geteuid() && entries[0].who?.pid == getpid())
        #expect(entries.allSatisfy { $0.time.hasSuffix("Z") })
        var info = stat()
        #expect(stat(paths.audit, &info) == 0 && info.st_mode & 0o777 == 0o600)
    }

    @Test func whatCannotBeWrittenDownIsNotDone() throws {
        try SmallFile.makeDirectories(paths.audit)
        let error = #expect(throws: Audit.NotWritten.self) {
            try Audit(paths).witness(try entry(), log) {
                Issue.record("done without a line")
                return answer(.done)
            }
        }
        #expect(error?.description.contains(paths.audit) == true)
    }

    /// A crash, or a full disk, cuts a line short: the next one is whole all the same.
    @Test func aLineThatWasCutShortEndsThere() throws {
        let audit = Audit(paths)
        _ = try audit.begin(try entry())
        let whole = try #require(SmallFile.read(paths.audit))
        try directory.write(whole + whole.prefix(40), to: "audit.jsonl")
        _ = try audit.begin(try entry("web1"))
        #expect(lines().count == 3 && lines()[1] == whole.prefix(40))
        #expect(audit.last(of: try GuestName("web1"))?.outcome == "taken")
        #expect(audit.last(of: try GuestName("db"))?.guest == "db")
        #expect(audit.last(of: try GuestName("other")) == nil)
        #expect(audit.summary(of: try GuestName("db"))?.contains(paths.audit) == true)
    }

    @Test func itIsBounded() throws {
        let path = directory.file("lines")
        for number in 0..<100 { try LineFile.append(Array("line \(number)".utf8), to: path, limit: 100) }
        let text = try #require(SmallFile.read(path))
        let older = try #require(SmallFile.read(path + ".1"))
        #expect(text.utf8.count <= 100 && older.utf8.count <= 100)
        #expect(text.hasSuffix("line 99\n") && older.hasPrefix("line "))
        // Nothing is missing between the two.
        let last = try #require(older.split(separator: "\n").last.flatMap { Int($0.dropFirst(5)) })
        #expect(text.hasPrefix("line \(last + 1)\n"))
    }

    @Test func severalAppendAtOnce() throws {
        let path = directory.file("lines")
        let threads = try (0..<4).map { thread in
            try WorkerThread("writer") {
                for number in 0..<50 {
                    try? LineFile.append(Array("\(thread) \(number)".utf8), to: path, limit: 1 << 20)
                }
            }
        }
        for thread in threads { thread.join() }
        let text = try #require(SmallFile.read(path))
        let found = text.split(separator: "\n")
        #expect(found.count == 200 && Set(found).count == 200)
    }
}
