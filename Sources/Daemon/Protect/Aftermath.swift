import Checkpoint

/// What is still tried, for a bounded time, after a protection ended: the guest is not left suspended, nor its output
/// held, because something failed once.
struct Aftermath {
    /// The longest it is tried for.
    static let limit = TimeSpan.seconds(10)
    /// The same for a guest that has ended: what holds its output mostly went with it.
    static let limitOfDead = TimeSpan.seconds(1)

    let began: Instant

    /// Whether there is time left for another attempt.
    func goesOn(at now: Instant, guestHasEnded: Bool) -> Bool {
        now - began < (guestHasEnded ? Self.limitOfDead : Self.limit)
    }

    /// What an operator has to know, and to do, about what could not be put right.
    static func words(
        owed: OutputOrders.Order?,
        isSuspended: Bool,
        guestHasEnded: Bool,
        guest: String
    ) -> [String] {
        if guestHasEnded {
            return owed == nil
                ? [] : ["the guest is gone, and what it said last may be held still or gone with it"]
        }
        var words: [String] = []
        if isSuspended {
            words.append(
                "the guest may be left SUSPENDED, or paused: letting it run failed for \(limit); "
                    + "remusd protect \(guest) takes it over, or resume it with its own tools"
            )
        }
        let again = "the next remusd protect takes it over; remusd unprotect then opens it"
        switch owed {
        case .releaseAll:
            words.append("output STAYS HELD although it may go: releasing it failed for \(limit); \(again)")
        case .release, .absorb:
            words.append("output STAYS HELD: a part of it may go, and releasing it failed; \(again)")
        case .dropAll:
            words.append(
                "output that must not leave STAYS HELD: dropping it failed for \(limit); this copy is outdated, stop it"
            )
        case nil: break
        }
        return words
    }
}
