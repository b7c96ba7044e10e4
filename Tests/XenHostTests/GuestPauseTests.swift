import Checkpoint
import Testing
import XenHost

/// A domain whose pauses are counted, as Xen counts them, and xenstore. The script says what fails, and who dies when.
private final class ScriptedDomain: DomainPausing, XenstoreWriting {
    /// Pauses of all tools.
    private(set) var pauses = 0
    private(set) var notes: [String: String] = [:]
    /// What was done, in order.
    private(set) var done: [String] = []
    /// From this step on nobody is left who does anything.
    var dies = Int.max
    var pauseFails = false

    private func step(_ what: String) throws(GuestError) {
        guard done.count < dies else { throw GuestError(guest: "vm", reason: "dead") }
        done.append(what)
    }

    func pause(_ domain: UInt32) throws(GuestError) {
        if pauseFails { throw GuestError(guest: "vm", reason: "no") }
        try step("pause")
        pauses += 1
    }

    func unpause(_ domain: UInt32) throws(GuestError) -> Bool {
        try step("unpause")
        guard pauses > 0 else { return false }
        pauses -= 1
        return true
    }

    func life(of domain: UInt32) throws(GuestError) -> LifeState { pauses > 0 ? .paused : .running }

    func write(_ path: String, _ value: String) throws(GuestError) {
        try step("write \(value)")
        notes[path] = value
    }

    func read(_ path: String) -> String? { notes[path] }
    func list(_ path: String) -> [String] { [] }

    /// `xl pause`, `xl unpause`.
    func operatorPauses() { pauses += 1 }
    func operatorUnpauses() { pauses = max(0, pauses - 1) }

    var own: GuestPause { GuestPause(of: 5, self, self) }
}

@Suite struct GuestPauseTests {
    private let domain = ScriptedDomain()

    @Test func theNoteIsThereBeforeThePauseAndUntilAfterIt() throws {
        try domain.own.begin()
        #expect(domain.pauses == 1 && domain.own.isNoted)
        try domain.own.begin()
        #expect(domain.pauses == 1, "again is harmless")
        try domain.own.end()
        try domain.own.end()
        #expect(domain.pauses == 0 && !domain.own.isNoted)
        #expect(domain.done == ["write 1", "pause", "unpause", "write 0"])
        #expect(domain.notes.keys.allSatisfy { $0.hasPrefix("/local/domain/5/") })
    }

    @Test func whatTheOperatorPausedStaysPaused() throws {
        domain.operatorPauses()
        try domain.own.end()
        #expect(domain.pauses == 1, "that one is not ours")
        try domain.own.begin()
        #expect(domain.pauses == 2)
        try domain.own.end()
        #expect(domain.pauses == 1)
        // And the other way round.
        domain.operatorUnpauses()
        try domain.own.begin()
        domain.operatorPauses()
        try domain.own.end()
        #expect(domain.pauses == 1)
    }

    @Test func takenBackByTheOperatorItIsDoneAgainOrOver() throws {
        try domain.own.begin()
        domain.operatorUnpauses()
        try domain.own.begin()
        #expect(domain.pauses == 1)
        domain.operatorUnpauses()
        try domain.own.end()
        #expect(domain.pauses == 0 && !domain.own.isNoted)
    }

    /// Whoever comes after a process that died at any step has it paused, or running, as it wants.
    @Test(arguments: 0...3, [true, false]) func aSuccessorGoesOn(_ step: Int, _ wantsPause: Bool) throws {
        domain.dies = step
        do throws(GuestError) {
            try domain.own.begin()
            try domain.own.end()
        } catch {
            #expect(error.reason == "dead")
        }
        domain.dies = .max
        if wantsPause { try domain.own.begin() } else { try domain.own.end() }
        #expect(domain.pauses == (wantsPause ? 1 : 0) && domain.own.isNoted == wantsPause)
        try domain.own.end()
        #expect(domain.pauses == 0)
    }

    @Test func aPauseThatFailsIsTriedAgain() throws {
        domain.pauseFails = true
        #expect(throws: GuestError.self) { try domain.own.begin() }
        domain.pauseFails = false
        try domain.own.begin()
        #expect(domain.pauses == 1)
    }
}
