/// `POST /v1/continue` to a primary: somebody vouches for its standby.
package struct ContinueRequest: Codable, Equatable, Sendable {
    /// The standby's host, which the caller made sure is off or cut off, and whose image nobody will activate.
    package var confirmFenced: String

    package init(confirmFenced: String) { self.confirmFenced = confirmFenced }

    package enum CodingKeys: String, CodingKey { case confirmFenced = "confirm_fenced" }
}

/// `POST /v1/resolve` to a primary, `POST /v1/guests/NAME/resolve` to a standby: which copy is kept after a split.
package struct ResolveRequest: Codable, Equatable, Sendable {
    /// The host whose copy is kept.
    package var keep: String

    package init(keep: String) { self.keep = keep }
}

/// What came of somebody's word. The exit codes are part of the commands' contract with scripts.
package enum WordOutcome: String, Codable, CaseIterable, Sendable {
    /// Done, now or before.
    case done
    /// There was nothing to do.
    case nothingToDo = "nothing_to_do"
    /// The other side is alive.
    case otherAlive = "other_alive"
    /// The host that was named is not the one that is meant.
    case wrongHost = "wrong_host"
    /// This copy may not run any more.
    case outdated
    /// Taken, and not written down yet: see status.
    case pending
    /// Nothing was done.
    case tryAgain = "try_again"

    package var exitCode: Int32 {
        switch self {
        case .done, .nothingToDo: 0
        case .otherAlive: 10
        case .wrongHost: 13
        case .outdated: 14
        case .pending, .tryAgain: 75
        }
    }
}

/// The answer, with status 200 whatever the outcome.
package struct WordReply: Codable, Equatable, Sendable {
    package var guest: String
    package var outcome: WordOutcome
    package var exitCode: Int32
    /// The generation the guest runs at here.
    package var generation: UInt64
    /// What happened, why, and what to do.
    package var message: String

    package init(guest: String, outcome: WordOutcome, generation: UInt64, message: String) {
        self.guest = guest
        self.outcome = outcome
        exitCode = outcome.exitCode
        self.generation = generation
        self.message = message
    }

    package enum CodingKeys: String, CodingKey {
        case guest, outcome
        case exitCode = "exit_code"
        case generation, message
    }
}
