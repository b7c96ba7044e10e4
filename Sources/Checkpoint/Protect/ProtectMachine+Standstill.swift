/// A guest with a writable disk that nobody replicates stands still while it may be running elsewhere: the plug fences the network
/// only, and two copies could write to one disk.
///
/// It may be from the moment a standby that is lost may have been granted the guest, or been vouched for, and until that standby, the
/// arbiter, or a person says otherwise. An outdated copy stands still for good. Without an arbiter nobody is asked, and
/// nothing stands still: whoever vouches for a failover has fenced this host.
extension ProtectMachine {
    private var mustStandStill: Bool {
        guard settings.standsStill else { return false }
        switch ending?.reason {
        // There is nothing left to stand still.
        case .shutdown, .reboot, .crashed: return false
        case .unprotect, .continueAlone, nil: break
        }
        return authority == .outdated || mayBeOvertaken && plugClosed
    }

    /// The standby may have been given the guest, and this side does not know. The guest stands still before anybody is asked.
    mutating func noteOvertaking(_ effects: inout EffectBuffer<ProtectEffect>) {
        mayBeOvertaken = true
        settleStandstill(&effects)
    }

    mutating func settleStandstill(_ effects: inout EffectBuffer<ProtectEffect>) {
        guard mustStandStill != standsStill else { return }
        standsStill = mustStandStill
        effects.append(standsStill ? .pauseGuest : .unpauseGuest)
    }

    /// At the end nobody is left who would let it run; an outdated copy must not.
    mutating func endStandstill(_ effects: inout EffectBuffer<ProtectEffect>) {
        guard standsStill, authority != .outdated else { return }
        standsStill = false
        effects.append(.unpauseGuest)
    }
}
