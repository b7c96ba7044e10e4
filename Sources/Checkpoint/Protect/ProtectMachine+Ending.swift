/// Planned ends: two phases, so that none of them can be lost and none makes the standby take over.
extension ProtectMachine {
    mutating func guestEnded(_ end: GuestEnd, _ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        // What ended by itself is not suspended.
        retryResumeAt = nil
        if workIsInPause { work = inFlight == nil ? .running : .inFlight }
        switch end {
        case .shutdown: beginEnding(.shutdown, now, &effects)
        case .reboot: beginEnding(.reboot, now, &effects)
        case .crashed: beginEnding(.crashed, now, &effects)
        }
    }

    mutating func failed(_ reason: String, _ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        switch work {
        case .suspending, .harvesting, .cutting:
            let wasCutting = work == .cutting
            work = .resuming(thenSend: false)
            effects.append(.resume)
            effects.append(.report(.checkpointAbandoned(epoch: epoch, reason)))
            // Not again at once: what failed is tried again by its owner first.
            nextSuspend = max(nextSuspend, now + settings.retry)
            // A first cut that failed may still have closed the plug, and nothing was held before it.
            if wasCutting, !plugClosed { effects.append(.releaseAll) }
            noteStall(now, &effects)
        case .idle, .syncing, .running, .inFlight, .resuming:
            effects.append(.report(.operationFailed(reason)))
            loseLink(.reset(reason), now, &effects)
        }
    }

    mutating func beginEnding(
        _ reason: PlannedEndReason,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        // A guest that ends while it is being unprotected ends for that reason.
        if ending?.thenRetry == false, reason == .unprotect || ending?.reason == reason { return }
        // What an earlier end said may have been heard, and its answer lost.
        ending = Ending(reason: reason, announcedAt: ending?.announcedAt)
        if authority == .outdated { return finish(.outdated(reason), &effects) }
        guard plugClosed || link == .up, authority != .alone, authority != .splitBrain
        else {
            // Nobody has an image that is not outdated already.
            return finish(.nothingToDrop(reason), &effects)
        }
        if link == .up { announceEnd(now, &effects) }
    }

    /// The first phase.
    mutating func announceEnd(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard link == .up, ending != nil else { return }
        ending?.announcedAt = now
        let reason = ending?.reason ?? .unprotect
        effects.append(.send(.plannedEnd(PlannedEnd(reason: reason, generation: generation + 1))))
    }

    /// The second phase: the image is dropped, or kept after a crash.
    mutating func endAnswered(
        _ answer: PlannedEndAnswer,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        guard let ending else { return }
        if ending.thenRetry {
            self.ending = nil
            goUnprotected(now, &effects)
            link = .down(retryAt: now + settings.aloneAfter)
            raise(to: generation + 1, &effects)
            effects.append(.report(.imageDropped))
            return
        }
        if answer == .dropped { effects.append(.releaseAll) }
        finish(.ended(ending.reason, answer), &effects)
    }
}
