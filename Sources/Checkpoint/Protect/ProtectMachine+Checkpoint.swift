/// Suspend → harvest → cut → resume → send.
extension ProtectMachine {
    mutating func syncRoundSent(_ pages: Int, _ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard case .syncing(let round) = work else { return }
        if pages < settings.syncThreshold || round + 1 >= settings.syncRounds {
            work = .running
            nextSuspend = max(now, nextSuspend)
        } else {
            work = .syncing(round: round + 1)
            effects.append(.syncRound(epoch: epoch, whole: false))
        }
    }

    mutating func suspendFinished(
        _ outcome: SuspendOutcome,
        since: Instant,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        guard work == .suspending else {
            // It came too late to be of use, and the guest is not left suspended.
            if outcome == .suspended, !inPause { effects.append(.resume) }
            return
        }
        guestPaused = outcome == .paused
        switch outcome {
        case .paused:
            // It sends nothing that would have to be held, and does nothing that would have to be copied.
            work = .running
            stalledSince = nil
            nextSuspend = now + max(pace.interval, settings.retry)
        case .suspended:
            suspendRefused = false
            // From suspend to suspend; a missed beat is not made up for.
            nextSuspend = suspendedAt + pace.interval
            suspendedAt = min(since, now)
            beginCounting()
            work = .harvesting
            effects.append(.harvest(epoch: epoch, deadline: suspendedAt + settings.maxPause))
        case .refused:
            work = .running
            nextSuspend = now + max(pace.interval, settings.suspendTimeout)
            if !suspendRefused { effects.append(.report(.suspendRefused)) }
            suspendRefused = true
            noteStall(now, &effects)
        case .ended(let end):
            work = .running
            guestEnded(end, now, &effects)
        }
    }

    mutating func harvested(
        _ result: HarvestResult,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        guard work == .harvesting else { return }
        let reason: String
        switch result {
        case .whole where link != .up && sentWhileRunning:
            // Half of the epoch went over a connection that is gone: staging is not the whole of it.
            reason = "the connection was lost"
        case .whole(let pages) where now - suspendedAt <= settings.maxPause:
            work = .cutting
            stagedPages = pages
            effects.append(.cut(epoch: epoch))
            return
        case .whole: reason = "the pause reached \(settings.maxPause)"
        case .late: reason = "the pause reached \(settings.maxPause)"
        case .overCapacity(let pages): reason = "\(pages) dirty pages do not fit into staging"
        case .failed(let text): reason = text
        case .trackingLost(let text): return trackingLost(text, mayBeSuspended: true, now, &effects)
        }
        work = .resuming(thenSend: false)
        effects.append(.resume)
        effects.append(.report(.checkpointAbandoned(epoch: epoch, reason)))
        noteStall(now, &effects)
    }

    /// One round of what is dirty, sent while the guest runs and its output is held: which must not take for ever either.
    private mutating func sweep(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        sentWhileRunning = true
        if plugClosed { resyncSince = resyncSince ?? now }
        work = .syncing(round: settings.syncRounds - 1)
        effects.append(.syncRound(epoch: epoch, whole: false))
    }

    mutating func sweepWanted(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard work == .suspending else { return }
        if link == .up, ending == nil { sweep(now, &effects) } else { work = .running }
    }

    /// Nothing of this session can be continued: the guest runs on, its output stays held, and a new session begins with
    /// all of memory. An older image is kept until that is whole.
    mutating func trackingLost(
        _ reason: String,
        mayBeSuspended: Bool,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        if mayBeSuspended { effects.append(.resume) }
        effects.append(.report(.trackingLost(reason)))
        session += 1
        forgetSession(&effects)
        loseLink(.reset(reason), now, &effects)
    }

    /// No checkpoint could be made. Output cannot be held for ever: after `aloneAfter` protection ends, in two phases,
    /// and is tried again later.
    mutating func noteStall(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard let since = stalledSince else {
            stalledSince = now
            return
        }
        guard now - since > aloneAfter, plugClosed, ending == nil else { return }
        continueAlone(now, &effects)
    }

    /// The peer is there and no epoch becomes committed: has the image dropped, then lets the guest go on.
    mutating func continueAlone(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        ending = Ending(reason: .continueAlone, thenRetry: true)
        announceEnd(now, &effects)
    }

    mutating func wasCut(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard work == .cutting else { return }
        plugClosed = true
        stalledSince = nil
        movedAt = now
        measureCut(now)
        inFlight = epoch
        epoch += 1
        work = .resuming(thenSend: true)
        effects.append(.resume)
    }

    mutating func resumed(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        retryResumeAt = nil
        guard case .resuming(let thenSend) = work else { return }
        if thenSend, let inFlight {
            work = .inFlight
            resumedAt = now
            guard link == .up else { return }
            standbyMayHaveImage = true
            firstSentAt = firstSentAt ?? now
            sentAt = now
            effects.append(.sendEpoch(inFlight))
        } else if link == .up, ending == nil {
            // Abandoned: what is dirty is sent while the guest runs, so that the next pause is shorter.
            sweep(now, &effects)
        } else {
            work = committed == nil ? .idle : .running
            requeueSentPages(&effects)
        }
    }

    /// The guest is not left suspended: again, until it runs, whatever becomes of the session.
    mutating func resumeFailed(
        _ reason: String,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        if retryResumeAt == nil { effects.append(.report(.operationFailed(reason))) }
        retryResumeAt = now + settings.retry
    }
}
