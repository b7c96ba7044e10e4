import Checkpoint
import Logging

/// Whether the guest is to stand still, and what came of it.
struct Standstill {
    var isWanted = false
    /// Why it is not as wanted, yet.
    var trouble: String?
    var retryAt = Instant(nanoseconds: 0)
    /// The guest may run, and is kept from it still.
    var owesRun: Bool { trouble != nil && !isWanted }
}

extension ProtectEngine {
    /// Has the guest stand still, or run again. What fails is tried until it succeeds.
    func standStill(_ isWanted: Bool) {
        standstill.isWanted = isWanted
        do throws(GuestError) {
            if isWanted { try guest.standStill() } else { try guest.runAgain() }
            if standstill.trouble != nil { log.notice("the guest \(isWanted ? "stands still" : "runs") now") }
            standstill.trouble = nil
        } catch {
            // What has ended neither runs nor has to stand still.
            guard !guestEndSeen, guest.ended() == nil else {
                standstill.trouble = nil
                return
            }
            if standstill.trouble == nil {
                log.error(
                    "the guest cannot be \(isWanted ? "paused" : "unpaused"), and it is tried again: \(error)"
                )
            }
            standstill.trouble = error.reason
            standstill.retryAt = now + options.settings.retry
        }
    }

    func retryStandstill() {
        if standstill.trouble != nil, now >= standstill.retryAt { standStill(standstill.isWanted) }
    }

    /// Why nobody may be asked for the guest yet.
    var obstacleToAsking: String? {
        guard standstill.isWanted, let trouble = standstill.trouble else { return nil }
        return "the guest has to stand still first, and cannot be paused: \(trouble)"
    }
}
