/// `POST /v1/guests/NAME/activate` to the standby.
package struct ActivateRequest: Codable, Equatable, Sendable {
    /// The host that a person or script vouches for: it is off, or fenced.
    package var confirmFenced: String?
    /// Activate only an image of exactly this generation.
    package var ifGeneration: UInt64?
    /// Go on with an image that may be older than what clients saw.
    package var acceptRollback: Bool
    /// Say what would happen; change nothing.
    package var dryRun: Bool
    /// Where the guest shall be reached (`ADDR:PORT`), if not where it was.
    package var listen: String?
    /// The caller's word stands in for the arbiter's grant.
    package var force: Bool

    package init(
        confirmFenced: String? = nil,
        ifGeneration: UInt64? = nil,
        acceptRollback: Bool = false,
        dryRun: Bool = false,
        listen: String? = nil,
        force: Bool = false
    ) {
        self.force = force
        self.confirmFenced = confirmFenced
        self.ifGeneration = ifGeneration
        self.acceptRollback = acceptRollback
        self.dryRun = dryRun
        self.listen = listen
    }

    package enum CodingKeys: String, CodingKey {
        case confirmFenced = "confirm_fenced"
        case ifGeneration = "if_generation"
        case acceptRollback = "accept_rollback"
        case dryRun = "dry_run"
        case listen, force
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        confirmFenced = try values.decodeIfPresent(String.self, forKey: .confirmFenced)
        ifGeneration = try values.decodeIfPresent(UInt64.self, forKey: .ifGeneration)
        acceptRollback = try values.decodeIfPresent(Bool.self, forKey: .acceptRollback) ?? false
        dryRun = try values.decodeIfPresent(Bool.self, forKey: .dryRun) ?? false
        listen = try values.decodeIfPresent(String.self, forKey: .listen)
        force = try values.decodeIfPresent(Bool.self, forKey: .force) ?? false
    }
}

extension ActivateRequest {
    /// What the caller vouches for, or puts up with; nil for one that does neither.
    var word: AuditEntry.Word? {
        guard confirmFenced != nil || acceptRollback || force else { return nil }
        var word = AuditEntry.Word()
        word.confirmFenced = confirmFenced
        word.ifGeneration = ifGeneration
        if acceptRollback { word.acceptRollback = true }
        if force { word.force = true }
        return word
    }
}

/// How an activation ended. The exit codes are part of the command's contract with failover scripts.
package enum ActivateOutcome: String, Codable, CaseIterable, Sendable {
    /// The guest runs here: activated now, or before.
    case active
    /// A dry run: nothing stands in the way.
    case wouldActivate = "would_activate"
    /// The primary is alive, and so is the guest there.
    case primaryAlive = "primary_alive"
    /// The arbiter granted the guest to somebody else.
    case arbiterDenied = "arbiter_denied"
    /// The arbiter does not answer, or has lost its memory, or is not the image's.
    case arbiterUnavailable = "arbiter_unavailable"
    /// There is no complete, acknowledged epoch here.
    case noConsistentImage = "no_consistent_image"
    /// Nobody has confirmed that the primary is fenced.
    case fencingUnconfirmed = "fencing_unconfirmed"
    /// The image's generation is not the one asked for.
    case generationMismatch = "generation_mismatch"
    /// The image was dropped at a planned end.
    case imageDropped = "image_dropped"
    /// Memory, an address or a device is missing.
    case resourcesMissing = "resources_missing"
    /// The primary may have run alone: the image may be older than what clients saw.
    case mayRollBack = "may_roll_back"
    /// A `pre-activate` hook said no.
    case vetoed
    /// The request makes no sense.
    case usage
    /// Not now: try again.
    case tryAgain = "try_again"

    /// The exit code of `remusd activate`.
    package var exitCode: Int32 {
        switch self {
        case .active, .wouldActivate: 0
        case .primaryAlive: 10
        case .arbiterDenied: 11
        case .noConsistentImage: 12
        case .fencingUnconfirmed: 13
        case .generationMismatch, .imageDropped: 14
        case .resourcesMissing: 15
        case .mayRollBack: 16
        case .vetoed: 17
        case .usage: 64
        case .tryAgain, .arbiterUnavailable: 75
        }
    }
}

/// The standby's answer, with status 200 whatever the outcome.
package struct ActivateReply: Codable, Equatable, Sendable {
    /// `remusd.activate/1`
    package var schema: String
    package var guest: String
    package var outcome: ActivateOutcome
    package var exitCode: Int32
    /// The generation the guest runs at now, or that of the image.
    package var generation: UInt64?
    /// The epoch it was, or would be, activated from.
    package var epoch: UInt64?
    /// Where clients reach it; only when active.
    package var address: String?
    /// Since the image's last commit, in milliseconds.
    package var imageAgeMs: UInt64?
    /// What happened, why, and what to do, in a sentence or two.
    package var message: String
    /// Every single thing that stands in the way, empty if nothing does.
    package var reasons: [String]

    package init(
        guest: String,
        outcome: ActivateOutcome,
        generation: UInt64? = nil,
        epoch: UInt64? = nil,
        address: String? = nil,
        imageAgeMs: UInt64? = nil,
        message: String,
        reasons: [String] = []
    ) {
        schema = "remusd.activate/1"
        self.guest = guest
        self.outcome = outcome
        exitCode = outcome.exitCode
        self.generation = generation
        self.epoch = epoch
        self.address = address
        self.imageAgeMs = imageAgeMs
        self.message = message
        self.reasons = reasons
    }

    package enum CodingKeys: String, CodingKey {
        case schema, guest, outcome
        case exitCode = "exit_code"
        case generation, epoch, address
        case imageAgeMs = "image_age_ms"
        case message, reasons
    }
}
