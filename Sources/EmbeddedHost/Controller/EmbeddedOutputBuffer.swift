import Checkpoint
import SystemSupport

/// The plug of an embedded guest, worked from `remusd protect`. It lives with the guest.
package final class EmbeddedOutputBuffer: OutputBuffer {
    package let wasClosed: Bool
    private let link: GuestLink

    init(_ link: GuestLink) {
        self.link = link
        wasClosed = link.description.isPlugShut
    }

    package func cut(epoch: UInt64) throws(GuestError) { try link.demand(.cut, epoch) }
    package func release(epoch: UInt64) throws(GuestError) { try link.demand(.release, epoch) }
    package func absorb() throws(GuestError) { try link.demand(.absorb) }
    package func releaseAll() throws(GuestError) { try link.demand(.releaseAll) }
    package func dropAll() throws(GuestError) { try link.demand(.dropAll) }

    /// 0 if the guest does not answer.
    package func heldBytes() -> Int {
        guard case .reply(let reply) = link.ask(.held, deadline: Clock.monotonic + 200_000_000) else {
            return 0
        }
        return Int(reply.value)
    }
}

extension GuestLink {
    /// Asks for something that must be done. A guest that neither does it nor says why in time (its process is stopped)
    /// will still do it when it goes on, before anything that is asked for later.
    func demand(_ operation: ControlMessage.Operation, _ argument: UInt64 = 0) throws(GuestError) {
        var reason = "the connection to its process was lost"
        let answer = ask(operation, argument: argument, deadline: Clock.monotonic + Self.answerLimit) {
            if !$0.isEmpty { reason = String(decoding: $0, as: UTF8.self) }
        }
        switch answer {
        case .reply(let reply) where reply.status == .done: return
        case .reply, .lost: break
        case .late: reason = "its process does not answer (\(operation)); it will when it goes on"
        }
        throw GuestError(guest: description.name, reason: reason)
    }
}
