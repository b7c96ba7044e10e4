/// Permission to release output without the standby, and the end of a protection.
extension ProtectMachine {
    /// How long nobody must have answered before this side goes on alone: an image trusts what the hello it came with
    /// said, so a shorter time counts only once no such image is left.
    var aloneAfter: TimeSpan { max(settings.aloneAfter, olderAloneAfter ?? settings.aloneAfter) }

    /// A predecessor's output is held.
    mutating func takeOver(imageElsewhere: Bool, _ recordedAloneAfter: TimeSpan?) {
        plugClosed = true
        standbyMayHaveImage = true
        self.imageElsewhere = imageElsewhere
        if let recordedAloneAfter, recordedAloneAfter > settings.aloneAfter {
            olderAloneAfter = recordedAloneAfter
            recordIsLonger = true
        }
    }

    /// There is somebody to ask: the time to go alone begins anew, and a generation that is still being written down
    /// gives no permission any more. Nothing was released on its account.
    mutating func askAgain(_ now: Instant) {
        aloneBasis = now
        if authority == .storingAlone { authority = .normal }
    }

    mutating func generationStored(
        _ stored: UInt64,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
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
    }

    /// Lets the guest run unprotected; the next connection begins a new session.
    mutating func goUnprotected(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        session += 1
        forgetSession(&effects)
        plugClosed = false
        standbyMayHaveImage = false
        imageElsewhere = false
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
        effects.append(.stopTracking)
        effects.append(.disconnect)
        effects.append(.finish(result))
    }
}
