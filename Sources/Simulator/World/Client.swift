/// All the clients outside: what they have seen, and of which copy.
final class Client {
    private unowned let world: World
    /// The copy that is the guest.
    private(set) var owner = 0
    /// Counts what a person began anew: a guest that was started afresh, a rollback that was accepted.
    private(set) var history = 0
    private(set) var seen = 0
    /// What the copy that is the guest knew when it began: all copies have that in common, and may say it late.
    private var common = 0

    init(of world: World) { self.world = world }

    func begin(_ copy: Int) {
        history += 1
        (owner, seen, common) = (copy, 0, 0)
    }

    /// An activated copy is the guest from now on.
    func follow(_ copy: Int, _ image: Image) {
        (owner, common) = (copy, image.knows)
        if image.history == history, image.knows >= seen { return }
        if !image.rollbackAccepted {
            world.breaks("R3: the image knows \(image.knows) where \(seen) was seen, and is activated")
        }
        history += 1
        seen = image.knows
    }

    /// Sees what has left a copy.
    func watch(_ copy: GuestCopy) {
        let visible = copy.plug.visible
        guard visible > copy.shown else { return }
        let before = copy.shown
        copy.shown = visible
        // What a host says that is cut off, nobody hears.
        if copy.host.isIsolated { return }
        if copy.number != owner {
            if visible <= common { return }
            return world.breaks(
                "R1: the copy on \(copy.host.name) is heard (\(before + 1) to \(visible)) while another is the guest"
            )
        }
        if copy.plug.holds, visible > copy.acknowledged {
            world.breaks("R2: \(visible) is heard, \(copy.acknowledged) is acknowledged")
        }
        seen = max(seen, visible)
    }
}
