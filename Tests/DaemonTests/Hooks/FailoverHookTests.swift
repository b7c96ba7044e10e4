import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// examples/hooks/failover, with a remusd and a fence of its own.
@Suite(.timeLimit(.minutes(2))) struct FailoverHookTests {
    static let script: String = {
        let root = #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        return "/\(root)/examples/hooks/failover"
    }()

    private let folder: HookFolder

    init() throws { folder = try HookFolder() }

    /// Runs it; `remusd activate` ends with each of `codes` in turn.
    private func run(
        _ codes: [Int32],
        fence: Int32 = 0,
        event: String = "peer-lost",
        role: String = "standby"
    ) throws -> (code: Int32, asked: [String], fenced: [String]) {
        try folder.directory.write(codes.map { "\($0)\n" }.joined(), to: "codes")
        try folder.add(
            "remusd",
            #"echo "$@" >> "$T/asked"; code=$(head -n1 "$T/codes"); sed -i 1d "$T/codes"; exit "$code""#
        )
        try folder.add("fence", #"echo "$@" >> "$T/fenced"; exit \#(fence)"#)
        let stop = try EventFD()
        let process = HookProcess(
            path: Self.script,
            arguments: [event, "web1"],
            environment: [
                "PATH=/usr/bin:/bin", "REMUSD=\(folder.path)/remusd", "REMUSD_FENCE=\(folder.path)/fence",
                "REMUSD_GRACE=0", "REMUS_API=1", "REMUS_EVENT=\(event)", "REMUS_ROLE_NEW=\(role)",
                "REMUS_VM=web1", "REMUS_GENERATION=7", "REMUS_PEER=alpha", "REMUS_LINK_FAILURE=reset",
                "REMUS_REASON=why",
            ]
        )
        let deadline = Clock.monotonic + 60_000_000_000
        let result = process.run(limit: .seconds(60), until: deadline, stop: stop.descriptor) { _ in }
        guard case .ended(.exited(let code)) = result.outcome else {
            throw ValueError(kind: "hook", text: "\(result.outcome)", rightForm: result.lastLine)
        }
        return (code, folder.lines("asked"), folder.lines("fenced"))
    }

    private let plain = "activate web1 --if-generation 7"
    private let confirmed = "activate web1 --if-generation 7 --confirm-fenced alpha"

    @Test func whatNeedsNoFencingIsNotFenced() throws {
        let (code, asked, fenced) = try run([0])
        #expect(code == 0 && asked == [plain] && fenced.isEmpty)
    }

    @Test func theHostIsFencedBeforeAnybodySaysSo() throws {
        let (code, asked, fenced) = try run([13, 0])
        #expect(code == 0 && asked == [plain, confirmed] && fenced == ["alpha"])
    }

    @Test func whereFencingFailsNothingIsActivated() throws {
        let (code, asked, fenced) = try run([13, 0], fence: 1)
        #expect(code == 1 && asked == [plain] && fenced == ["alpha"])
    }

    @Test(arguments: [10, 14])
    func whatIsOverIsOver(_ said: Int32) throws {
        let (code, asked, fenced) = try run([said])
        #expect(code == 0 && asked == [plain] && fenced.isEmpty)
    }

    @Test(arguments: [11, 12, 15, 16, 17, 64, 78])
    func aPersonHasToLook(_ said: Int32) throws {
        let (code, asked, fenced) = try run([said])
        #expect(code == said && asked == [plain] && fenced.isEmpty)
    }

    @Test func whatMayGoBetterIsTriedAgain() throws {
        let (code, asked, _) = try run([75, 13, 75, 0])
        #expect(code == 0 && asked == [plain, plain, confirmed, plain])
    }

    @Test func butNotForEver() throws {
        let (code, asked, _) = try run([75, 75, 75, 75, 75, 75, 75])
        #expect(code == 75 && asked.count == 5)
    }

    @Test(arguments: [("post-activate", "primary"), ("peer-lost", "primary"), ("pre-activate", "primary")])
    func otherEventsAreNotItsBusiness(_ event: String, _ role: String) throws {
        let (code, asked, fenced) = try run([0], event: event, role: role)
        #expect(code == 0 && asked.isEmpty && fenced.isEmpty)
    }
}
