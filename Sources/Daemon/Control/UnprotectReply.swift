/// The answer to `POST /v1/unprotect` at a primary, sent once protection has ended (or could not).
package struct UnprotectReply: Codable, Equatable, Sendable {
    /// How it ended.
    package enum Outcome: String, Codable, Sendable {
        /// Protection has ended, and the standby has dropped its image.
        case ended
        /// The standby did not answer; the guest goes on alone, with the permission that this needs.
        case alone
        /// Not yet: the standby has not answered and the guest may not go on alone. Output stays held; try again.
        case pending
    }

    package var outcome: Outcome
    /// What the standby said: `dropped at generation 4`.
    package var peer: String?
    /// For people, if there is more to say.
    package var message: String?

    package init(outcome: Outcome, peer: String? = nil, message: String? = nil) {
        self.outcome = outcome
        self.peer = peer
        self.message = message
    }
}
