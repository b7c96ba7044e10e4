import Checkpoint
import Glibc
import SystemSupport
import Transport

/// Asks the other host's `remusd standby` what it knows of a guest.
package enum PeerInquiry {
    /// - Parameters:
    ///   - security: a claim decides who may run the guest, so it must be the other host's.
    ///   - host: the other host, as the records name it. Any host that this one is paired with can answer: where the records name
    ///     none, or the connection proves none, only one that knows the guest is believed.
    ///   - milliseconds: for each step, connecting and answering.
    /// - Throws: where nobody answers, or something else than a claim.
    package static func ask(
        _ inquiry: Inquiry,
        at address: SocketAddress,
        security: LinkSecurity,
        host: String?,
        milliseconds: Int32 = 3000
    ) throws -> HostClaim {
        let connection = try StandbyConnection(
            try TCP.connect(to: address, milliseconds: milliseconds),
            security: security,
            accepting: false,
            until: Clock.monotonic + UInt64(milliseconds) * 1_000_000
        )
        if let host, let peer = connection.peerHost, peer != host {
            throw RefusedInquiry(
                "\(address) is host \(peer), and the other host of \(inquiry.name) is \(host): name its address with --peer"
            )
        }
        connection.limit(until: Clock.monotonic + UInt64(milliseconds) * 1_000_000)
        try connection.send(.inquiry(inquiry), session: 0)
        guard connection.waitForFrame(milliseconds: milliseconds) else {
            throw SystemError("hear what \(address) knows of \(inquiry.name)", code: ETIMEDOUT)
        }
        var buffer = ControlBuffer()
        let header = try buffer.receiveHeader(from: connection)
        switch try buffer.receiveMessage(header, from: connection) {
        case .claim(let claim):
            guard claim.highest > 0 || host != nil && connection.peerHost == host else {
                throw RefusedInquiry(
                    "\(address) knows nothing of \(inquiry.name), and nothing shows that it is its other host"
                )
            }
            return claim
        case .refuse(let refusal):
            throw RefusedInquiry("\(address) refuses: \(refusal.text)", passes: refusal.reason.passes)
        default: throw ConnectionError.frame(.badBody(header.type, "an inquiry is answered by a claim"))
        }
    }
}

extension PeerInquiry {
    /// What it means that `ask` failed.
    enum Failure: Equatable {
        /// Nobody is there, or says anything in time.
        case silence
        /// Somebody is there: the other host, or this one, could not or would not. `passes`: the same question may be answered later.
        case other(passes: Bool)

        /// Nil for silence.
        var passes: Bool? { if case .other(let passes) = self { passes } else { nil } }
    }

    static func failure(_ error: any Error) -> Failure {
        // What connect(2) says of one that is not reached.
        let unreachable = [ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT]
        switch error {
        case let error as SystemError:
            return unreachable.contains(error.code) ? .silence : .other(passes: true)
        case ConnectionError.system(let error):
            return error.code == ETIMEDOUT ? .silence : .other(passes: true)
        case ConnectionError.stalled: return .silence
        case ConnectionError.closed: return .other(passes: true)
        case let refused as RefusedInquiry: return .other(passes: refused.passes)
        default: return .other(passes: false)
        }
    }
}

extension RefusalReason {
    /// Whether the same may be granted later, with nothing mended.
    fileprivate var passes: Bool {
        switch self {
        case .busy, .noMemory, .stopping, .failure: true
        default: false
        }
    }
}

/// The other host's remusd would not say, or what it said counts for nothing.
struct RefusedInquiry: Error, CustomStringConvertible {
    let description: String
    let passes: Bool

    init(_ description: String, passes: Bool = false) {
        self.description = description
        self.passes = passes
    }
}
