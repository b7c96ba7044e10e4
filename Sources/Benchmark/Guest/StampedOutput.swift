import Checkpoint

/// A plug with nothing in it, which notes when it is cut and released.
final class StampedOutput: OutputBuffer {
    private let guest: any EngineGuest

    init(of guest: any EngineGuest) { self.guest = guest }

    let wasClosed = false
    func cut(epoch: UInt64) { guest.wasCut() }
    func release(epoch: UInt64) { guest.acknowledged() }
    func absorb() {}
    func releaseAll() {}
    func dropAll() {}
    func heldBytes() -> Int { 0 }
}
