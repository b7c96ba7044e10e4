/// The connection: made, lost, made again.
extension ProtectMachine {
    mutating func connect(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        link = .connecting(since: now)
        effects.append(.connect)
    }

    mutating func linkConnected(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard case .connecting = link else { return }
        link = .handshaking(since: now)
        lastHeard = now
        effects.append(
            .sendHello(
                generation: generation,
                session: session,
                ackedEpoch: committed,
                imageStillValid: plugClosed
            )
        )
    }

    mutating func loseLink(_ loss: LinkLoss, _ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        effects.append(.disconnect)
        linkLost(loss, now, &effects)
    }

    mutating func linkLost(
        _ loss: LinkLoss,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        if case .down = link { return }
        if link == .up || lastLoss != loss { effects.append(.report(.linkLost(loss))) }
        // A peer that takes connections and loses them before the ack, again and again, does not commit either.
        if link == .up, let firstSentAt, now - firstSentAt > settings.maxHold { peerFailing = true }
        link = .down(retryAt: now + settings.retry)
        measured = nil
        lastLoss = loss
        if case .silence = loss { wasSilent = true }
        // A checkpoint that is being staged lacks what was sent before: it is dealt with when the guest runs again.
        if work != .harvesting, work != .cutting { requeueSentPages(&effects) }
        // Epoch 0 starts from nothing; a later epoch's pages are simply dirty again.
        if case .syncing = work { work = committed == nil ? .idle : .running }
    }

    /// What was sent while the guest ran, on a connection that is gone and outside any cut epoch, is dirty again.
    mutating func requeueSentPages(_ effects: inout EffectBuffer<ProtectEffect>) {
        guard sentWhileRunning, inFlight == nil, link != .up else { return }
        sentWhileRunning = false
        effects.append(.requeueSentPages)
    }
}
