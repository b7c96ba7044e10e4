import Checkpoint
import Glibc
import SystemSupport
import XenStream

/// One round: everything is started, written to, broken at a random moment, mended, and checked.
final class DemoPlay {
    private let options: DemoOptions
    private let stage: DemoStage
    private let patience: DemoPatience
    private let say: (String) -> Void
    private var random: SplitMix
    private var round: DemoRound
    private var relay: LinkRelay?
    private var traffic: DemoTraffic?

    /// - Parameter say: shows progress.
    init(
        _ options: DemoOptions,
        round number: Int,
        on stage: DemoStage,
        _ patience: DemoPatience,
        say: @escaping (String) -> Void
    ) {
        self.options = options
        self.stage = stage
        self.patience = patience
        self.say = say
        let seed = options.seed &+ UInt64(number - 1)
        random = SplitMix(state: seed)
        round = DemoRound(round: number, seed: seed)
    }

    /// Plays the round.
    func run() throws -> DemoRound {
        defer {
            traffic?.abort()
            relay?.stop()
        }
        try start()
        let traffic = try DemoTraffic(to: stage.guestAddress, options, seed: round.seed)
        self.traffic = traffic
        try patience.sleep(moment)
        switch options.kill {
        case .primary: break
        case .guest: try crash(traffic)
        case .standby: try loseStandby(traffic)
        case .standbyDaemon: try restartStandby(traffic)
        case .link: try cutLink(traffic)
        }
        if options.kill != .guest { try losePrimary(traffic) }
        try patience.sleep(rest)
        say("checking every acknowledged write")
        let ledgers = traffic.finish()
        try audit(ledgers)
        return round
    }

    /// When it happens: in the middle, give or take a fifth of the whole.
    private lazy var moment: TimeSpan = options.duration.percent(30 + random.next() % 41)
    private var rest: TimeSpan { TimeSpan(nanoseconds: options.duration.nanoseconds - moment.nanoseconds) }

    /// Short where it is waited for; otherwise long enough for what is to pass in the meantime.
    private var aloneAfter: TimeSpan { options.kill == .standby ? .seconds(2) : .seconds(10) }

    private func start() throws {
        try stage.startStandby()
        try stage.startGuest(memory: options.memory)
        var target = stage.standbyAddress
        if options.kill == .link {
            let relay = try LinkRelay(to: target)
            self.relay = relay
            target = relay.address
        }
        try stage.startProtect(to: target, interval: options.interval, aloneAfter: aloneAfter)
        try stage.waitProtected()
        say("protected: guest at \(stage.guestAddress), standby at \(stage.standbyAddress)")
    }

    private func expect(_ condition: Bool, _ what: String) throws(DemoError) {
        guard condition else { throw .unexpected("not so: \(what)") }
    }

    private func see(_ what: String) {
        round.seen.append(what)
        say(what)
    }

    // MARK: What happens

    /// Guest and protect die together; the standby's copy goes on.
    private func losePrimary(_ traffic: DemoTraffic) throws {
        let status = try stage.primaryStatus()
        try expect(status?.protected ?? false, "the guest is protected when its primary is killed")
        round.note(status)
        stage.killPrimary { traffic.mark() }
        round.acknowledgedBeforeLoss = traffic.answers
        say("killed guest and protect after epoch \(round.epochs)")
        try activate(traffic)
    }

    private func activate(_ traffic: DemoTraffic) throws {
        let reply = try stage.activateWithPatience()
        let time = try patience.wait(for: "an answer of the activated guest", atMost: .seconds(20)) {
            traffic.timeToFirstAnswer
        }
        round.firstAnswerMs = time.milliseconds
        say("active from epoch \(reply?.epoch ?? 0), first answer after \(time.rounded)")
    }

    /// The guest dies alone. Nobody takes over until a person says so.
    private func crash(_ traffic: DemoTraffic) throws {
        round.note(try stage.primaryStatus())
        stage.killGuest()
        round.acknowledgedBeforeLoss = traffic.answers
        say("killed the guest after epoch \(round.epochs)")
        try patience.wait(for: "the standby to say 'crashed'", atMost: .seconds(10)) {
            try stage.standbyStatus()?.state == .crashed ? true : nil
        }
        let answers = traffic.answers
        try patience.sleep(.seconds(1))
        let status = try stage.standbyStatus()
        try expect(
            status?.state == .crashed && !stage.runsAtStandby,
            "nobody activates a crashed guest by himself"
        )
        try expect(traffic.answers == answers, "a crashed guest answers nothing")
        see("state crashed, and no takeover by itself")
        traffic.mark()
        try activate(traffic)
    }

    /// The standby dies with its image. The guest goes on alone, and is protected again once there is a standby.
    private func loseStandby(_ traffic: DemoTraffic) throws {
        stage.killStandby(withGuardian: true)
        say("killed standby and guardian")
        let alone = try stage.waitPrimary("alone", atMost: .seconds(20)) { $0.state == .alone }
        try expect(!alone.protected, "a guest that is alone is not called protected")
        let answers = traffic.answers
        try patience.wait(for: "answers of the guest that is alone", atMost: .seconds(10)) {
            traffic.answers > answers + options.pipeline * options.connections ? true : nil
        }
        see("state alone, loudly unprotected; clients get their answers")
        try stage.startStandby()
        try stage.waitProtected()
        see("a standby that was started again protects the guest again")
        try patience.sleep(.milliseconds(500))
    }

    /// The daemon dies, its guardian does not.
    private func restartStandby(_ traffic: DemoTraffic) throws {
        let before = try stage.waitProtected()
        stage.killStandby(withGuardian: false)
        let epoch = before.epoch.committed ?? 0
        say("killed the standby daemon at epoch \(epoch)")
        try patience.sleep(.milliseconds(random.next() % 500))
        try stage.startStandby()
        let after = try stage.waitPrimary("past epoch \(epoch)", atMost: .seconds(20)) {
            $0.protected && ($0.epoch.committed ?? 0 > epoch + 2 || $0.session != before.session)
        }
        try expect(after.session == before.session, "the session goes on where it was, without a full sync")
        see("the daemon adopted its image from the guardian, the session went on without a full sync")
    }

    /// Nothing passes between the two for a while.
    private func cutLink(_ traffic: DemoTraffic) throws {
        let before = try stage.waitProtected()
        relay?.setForwarding(false)
        say("cut the link at epoch \(before.epoch.committed ?? 0)")
        try stage.waitPrimary("peer-lost", atMost: .seconds(10)) { $0.state == .peerLost }
        try patience.wait(for: "the standby to notice", atMost: .seconds(10)) {
            try stage.standbyStatus()?.state == .peerLost ? true : nil
        }
        let answers = traffic.answers
        let refusal = try stage.activate()
        try expect(
            [10, 13].contains(refusal.code),
            "activate is refused while the primary may live (\(refusal.code))"
        )
        try patience.sleep(.milliseconds(500 + random.next() % 1000))
        try expect(traffic.answers == answers, "the primary's output is held while the link is cut")
        try expect(!stage.runsAtStandby, "nobody activates by himself")
        see("link cut: output held, no second copy, activate refused with \(refusal.code)")
        relay?.setForwarding(true)
        let after = try stage.waitProtected(atMost: .seconds(20))
        try expect(after.session == before.session, "the session goes on where it was, without a full sync")
        try patience.wait(for: "held answers", atMost: .seconds(10)) {
            traffic.answers > answers ? true : nil
        }
        see("link mended: the session went on, held answers came")
    }

    // MARK: The check

    private func audit(_ ledgers: [DemoLedger]) throws {
        try expect(ledgers.count == options.connections, "every client came to its end")
        let findings = try DemoInquiry(stage.guestAddress, patience).findings(ledgers)
        let audit = DemoAudit(ledgers, findings)
        round.acknowledgedSets = ledgers.reduce(0) { $0 + $1.acknowledgedSets }
        round.acknowledgedIncrements = ledgers.reduce(0) { $0 + $1.acknowledgedIncrements }
        round.lost = audit.lost
        round.problems = audit.problems
        if round.acknowledgedSets == 0 {
            round.problems.append("no write was acknowledged: nothing was shown")
        }
    }
}
