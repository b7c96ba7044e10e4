/// Permission to release output without the standby, and the end of a protection.
extension ProtectMachine {
    /// How long nobody must have answered before this side goes on alone: an image trusts what the hello it came with
    /// said, so a shorter time counts only once no such image is left.
    var aloneAfter: TimeSpan { max(settings.aloneAfter, olderAloneAfter ?? settings.aloneAfter) }

    /// A predecessor's output is held.
    mutating func takeOver(imageElsewhere: Bool, _ isUnknown: Bool, _ recordedAloneAfter: TimeSpan?) {
        plugClosed = true
        mayBeOvertaken = true
        imageUnknown = isUnknown
        standbyMayHaveImage = true
        self.imageElsewhere = imageElsewhere
        if let recordedAloneAfter, recordedAloneAfter > settings.aloneAfter {
            olderAloneAfter = recordedAloneAfter
            recordIsLonger = true
        }
    }

    /// Nobody could be asked for `aloneAfter`, counted from the last heartbeat this side echoed.
    func isLeftAlone(_ now: Instant) -> Bool {
        guard mayWantAlone, now - aloneBasis >= aloneAfter else { return false }
        return link != .up || peerFailing
    }

    /// The standby is not heard any more: with an arbiter, time to ask.
    func isCutOff(_ now: Instant) -> Bool {
        guard settings.arbitration.decides, mayWantAlone, ending?.reason != .crashed,
            now - lastHeard >= (wasSilent ? settings.suspectAfter : settings.askAfter)
        else {
            return false
        }
        switch link {
        case .down, .connecting: return true
        case .handshaking, .up: return false
        }
    }

    private var mayWantAlone: Bool {
        authority == .normal && !inPause && (plugClosed || ending != nil)
    }

    /// Going on alone is the one thing left. `prefer-primary` permits it; an arbiter is asked; a person is waited for.
    mutating func wantsAlone(_ effects: inout EffectBuffer<ProtectEffect>) {
        switch settings.arbitration {
        case .preferPrimary:
            authority = .storingAlone
            effects.append(.storeGeneration(generation + 1))
        case .arbiter(decides: true):
            if !imageUnknown { ask(.alone, for: generation + 1, &effects) }
        case .arbiter(decides: false): break
        }
    }

    /// There is somebody to ask: the time to go alone begins anew, and a generation that is still being written down
    /// gives no permission any more. Nothing was released on its account.
    mutating func askAgain(_ now: Instant) {
        aloneBasis = now
        mayBeOvertaken = false
        if authority == .storingAlone, !isGrantBeingStored { authority = .normal }
    }

    mutating func generationStored(
        _ stored: UInt64,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        let isGranted = isGrantBeingStored
        if isGranted, !grantStored(now) || authority != .storingAlone {
            generation = max(generation, stored)
            raisingGeneration = false
            return
        }
        guard authority == .storingAlone else {
            // A store that came too late to matter: the standby answered meanwhile, and this session's number stays.
            if raisingGeneration { generation = stored }
            raisingGeneration = false
            return
        }
        generation = stored
        raisingGeneration = false
        if let ending, !ending.thenRetry {
            // A guest that crashed meanwhile has an image that is the newest: nothing may overtake it.
            if ending.reason != .crashed { effects.append(.releaseAll) }
            return finish(.unanswered(ending.reason), &effects)
        }
        ending = nil
        authority = .alone
        goUnprotected(now, &effects)
        effects.append(.report(.wentAlone(generation: stored)))
        // By somebody's word: no session begins before the arbiter's record says so too.
        if settings.arbitration.decides, !isGranted { raise(to: stored + 1, &effects) }
    }

    /// Lets the guest run unprotected; the next connection begins a new session.
    mutating func goUnprotected(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        session += 1
        forgetSession(&effects)
        plugClosed = false
        mayBeOvertaken = false
        standbyMayHaveImage = false
        imageElsewhere = false
        imageUnknown = false
        // The record stays as it is until an acknowledgement: until then a restart may find the plug closed still.
        olderAloneAfter = nil
        peerFailing = false
        resyncSince = nil
        effects.append(.releaseAll)
        if case .down = link { return }
        // A hello with the new session is what tells the peer; one on its way says that output is held.
        effects.append(.disconnect)
        link = .down(retryAt: now + settings.retry)
    }

    mutating func finish(_ result: ProtectResult, _ effects: inout EffectBuffer<ProtectEffect>) {
        finished = true
        if inPause { effects.append(.resume) }
        endStandstill(&effects)
        effects.append(.stopTracking)
        effects.append(.disconnect)
        effects.append(.finish(result))
    }
}
