/// What the standby says.
extension ProtectMachine {
    mutating func received(
        _ message: Message,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        lastHeard = now
        switch (link, message) {
        case (.handshaking, .welcome(let welcome)): welcomed(welcome, now, &effects)
        case (.handshaking, .refuse(let refusal)), (.up, .refuse(let refusal)):
            refused(refusal, now, &effects)
        case (.up, .ack(let acked)): acknowledged(acked, now, &effects)
        case (.up, .heartbeat(let beat)):
            guard !peerFailing else { return }
            aloneBasis = now
            effects.append(.send(.heartbeatEcho(beat)))
        case (.up, .heartbeatEcho): break
        case (.up, .plannedEndAnswer(let answer, let answered)):
            guard ending?.announcedAt != nil, answered == generation + 1 else {
                return loseLink(.violation("an answer to no planned end"), now, &effects)
            }
            endAnswered(answer, now, &effects)
        case (.down, _), (.connecting, _): break
        case (_, let message):
            loseLink(.violation("an unexpected \(message.type) message"), now, &effects)
        }
    }

    mutating func welcomed(
        _ welcome: Welcome,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        guard ProtocolVersion.oldest...ProtocolVersion.newest ~= welcome.version else {
            return loseLink(.violation("protocol version \(welcome.version)"), now, &effects)
        }
        link = .up
        wasWelcomed = true
        wasSilent = false
        lastLoss = nil
        nextBeat = now
        if !peerFailing { askAgain(now) }
        effects.append(.report(.linkUp(host: welcome.host)))
        if ending != nil { return announceEnd(now, &effects) }
        guard let theirs = welcome.committedEpoch else { return startOver(welcome, now, &effects) }
        if let inFlight, theirs == inFlight {
            acknowledged(inFlight, now, &effects)
        } else if theirs == committed, inFlight != nil, sentWhileRunning {
            takeBack(now, &effects)
        } else if theirs == committed, let inFlight {
            (movedAt, sentAt) = (now, now)
            firstSentAt = firstSentAt ?? now
            work = .inFlight
            effects.append(.sendEpoch(inFlight))
        } else if theirs == committed {
            work = .running
            nextSuspend = max(now, nextSuspend)
        } else {
            // Its image is none that we know: nothing it says about epochs can be believed.
            session += 1
            forgetSession(&effects)
            loseLink(.violation("it claims epoch \(theirs), which was never sent"), now, &effects)
        }
    }

    /// Part of the epoch in flight went while the guest ran, on a connection that is gone, so that it cannot be repeated: it is
    /// made anew, under its number, from all of its pages and what was written since. Its output goes with that.
    private mutating func takeBack(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        epoch = inFlight ?? epoch
        inFlight = nil
        sentWhileRunning = false
        resyncSince = nil
        work = .running
        nextSuspend = max(now, nextSuspend)
        effects.append(.absorb)
        effects.append(.requeueSentPages)
    }

    /// The standby has nothing of this session: the initial sync.
    mutating func startOver(
        _ welcome: Welcome,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        forgetSession(&effects)
        if plugClosed, !welcome.keepsOlderImage {
            // There is no image that could be activated, so what was held may go.
            plugClosed = false
            resyncSince = nil
            effects.append(.releaseAll)
            effects.append(.report(.imageDropped))
        } else if plugClosed {
            resyncSince = resyncSince ?? now
            effects.append(.absorb)
        }
        // A new session is judged by itself; the standby counts from its hello.
        peerFailing = false
        aloneBasis = now
        mayBeOvertaken = false
        if !isGrantBeingStored { authority = .normal }
        work = .syncing(round: 0)
        sentWhileRunning = true
        effects.append(.startTracking)
        effects.append(.report(.syncStarted))
        effects.append(.syncRound(epoch: 0, whole: true))
    }

    mutating func forgetSession(_ effects: inout EffectBuffer<ProtectEffect>) {
        committed = nil
        inFlight = nil
        epoch = 0
        sentWhileRunning = false
        budgetIsUsed = false
        stalledSince = nil
        firstSentAt = nil
        suspendRefused = false
        work = .idle
        effects.append(.stopTracking)
    }

    mutating func refused(
        _ refusal: Refusal,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        switch refusal.reason {
        case .active: overtaken(refusal, now, &effects)
        case .generationTooLow:
            if ending?.announcedAt != nil, refusal.generation == generation + 1 {
                // The first phase arrived and only its answer was lost; an image that is kept keeps its generation.
                endAnswered(.dropped, now, &effects)
            } else if authority == .alone {
                // Its guest was active and has ended: no number that is merely taken mends that.
                overtaken(refusal, now, &effects)
            } else if plugClosed, committed != nil || standbyMayHaveImage {
                becomeOutdated(refusal, now, &effects)
            } else {
                loseLink(.refused(refusal), now, &effects)
                raise(to: refusal.generation + 1, &effects)
            }
        case .noMemory, .noCommonVersion, .unsafePeer, .notAllowed, .arbiterDiffers:
            loseLink(.refused(refusal), now, &effects)
            if !plugClosed, !wasWelcomed, ending == nil { finish(.refused(refusal), &effects) }
        case .busy, .violation, .stopping, .failure:
            loseLink(.refused(refusal), now, &effects)
        }
    }

    /// The guest is, or was, active at the standby.
    mutating func overtaken(
        _ refusal: Refusal,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        // Alone, or let go by a predecessor of this protect: this history was seen, and so was the other.
        guard
            authority == .alone && refusal.generation <= generation
                || !plugClosed && refusal.generation < generation
        else { return becomeOutdated(refusal, now, &effects) }
        split(by: refusal, now, &effects)
    }

    /// Two copies have been seen; nothing is stopped.
    mutating func split(by refusal: Refusal, _ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        authority = .splitBrain
        splitGeneration = refusal.generation
        (asking, raisingGeneration) = (nil, false)
        effects.append(.report(.splitBrain(generation: refusal.generation)))
        loseLink(.refused(refusal), now, &effects)
        if let ending, !ending.thenRetry { finish(.nothingToDrop(ending.reason), &effects) }
    }

    mutating func becomeOutdated(
        _ refusal: Refusal,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        work = .idle
        // Whoever protects this copy next must know, also where nobody can be asked.
        effects.append(.storeOutdated(by: refusal.generation))
        stayOutdated(by: refusal.generation, &effects)
        effects.append(.stopTracking)
        loseLink(.refused(refusal), now, &effects)
        if let ending, !ending.thenRetry { return finish(.outdated(ending.reason), &effects) }
        ending = nil
    }

    /// A grant is permanent, so only a person can let this copy go on.
    mutating func stayOutdated(by generation: UInt64, _ effects: inout EffectBuffer<ProtectEffect>) {
        authority = .outdated
        (asking, splitGeneration) = (nil, nil)
        effects.append(.dropAll)
        effects.append(.report(.outdated(generation: generation)))
    }

    mutating func acknowledged(
        _ acked: UInt64,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        guard acked == inFlight, work == .inFlight else {
            return loseLink(.violation("an acknowledgement of epoch \(acked)"), now, &effects)
        }
        let first = committed == nil
        committed = acked
        inFlight = nil
        firstSentAt = nil
        resyncSince = nil
        lastAck = now
        peerFailing = false
        sentWhileRunning = false
        measureCommit(now)
        askAgain(now)
        work = .running
        nextSuspend = max(now, nextSuspend)
        effects.append(.release(epoch: acked))
        if recordIsLonger {
            // The older image is replaced: the standby has none that came with another hello than ours.
            olderAloneAfter = nil
            recordIsLonger = false
            effects.append(.storeAloneAfter)
        }
        if first { effects.append(.report(.protected)) }
    }
}
