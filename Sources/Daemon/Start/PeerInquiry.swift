import Checkpoint
import SystemSupport
import Transport

/// Asks the other host's `remusd standby` what it knows of a guest.
package enum PeerInquiry {
    /// - Parameters:
    ///   - security: a claim decides who may run the guest, so it must be the other host's.
    ///   - milliseconds: for each step, connecting and answering.
    /// - Throws: where nobody answers, or something else than a claim.
    package static func ask(
        _ inquiry: Inquiry,
        at address: SocketAddress,
        security: LinkSecurity,
        milliseconds: Int32 = 3000
    ) throws -> HostClaim {
        let connection = try StandbyConnection(
            try TCP.connect(to: address, milliseconds: milliseconds),
            security: security,
            accepting: false,
            until: Clock.monotonic + UInt64(milliseconds) * 1_000_000
        )
        connection.limit(until: nil)
        try connection.send(.inquiry(inquiry), session: 0)
        guard connection.waitForFrame(milliseconds: milliseconds) else {
            throw SystemError("hear what \(address) knows of \(inquiry.name)", code: 110)
        }
        var buffer = ControlBuffer()
        let header = try buffer.receiveHeader(from: connection)
        switch try buffer.receiveMessage(header, from: connection) {
        case .claim(let claim): return claim
        case .refuse(let refusal): throw RefusedInquiry(description: "\(address) refuses: \(refusal.text)")
        default: throw ConnectionError.frame(.badBody(header.type, "an inquiry is answered by a claim"))
        }
    }
}

/// The other host's remusd would not say.
struct RefusedInquiry: Error, CustomStringConvertible {
    let description: String
}
