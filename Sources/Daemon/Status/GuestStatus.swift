/// Which side of a pair a process is for a guest.
package enum GuestRole: String, Codable, CaseIterable, Sendable {
    case primary, standby
}

/// What a guest's protection is doing, on either side. The raw values are what JSON and text show.
package enum GuestState: String, Codable, CaseIterable, Sendable {
    // Primary.
    /// The process starts; nothing is tracked yet.
    case starting
    /// Looks for the standby.
    case connecting
    /// Every epoch is acknowledged in time.
    case protected
    /// The guest did not suspend when asked; it is not being checkpointed.
    case suspendRefused = "suspend-refused"
    /// The guest runs on without a standby, its output released.
    case alone
    /// A newer generation runs elsewhere: this copy may no longer run.
    case outdated
    /// The same generation runs at the standby too, under another id. A person decides.
    case splitBrain = "split-brain"
    /// A planned end is on its way.
    case ending
    /// Protection ended as planned; or (standby) the activated guest is not running any more.
    case ended

    // Both.
    /// The initial sync runs (primary) or comes in (standby).
    case syncing
    /// The other side is not heard of; output is held.
    case peerLost = "peer-lost"

    // Standby.
    /// Knows the guest, holds no image.
    case empty
    /// Holds an image, up to date at every commit.
    case standby
    /// The same, or (primary) sends one, and the other side is an xl, which knows no acknowledgement.
    case unacknowledged
    /// Turns its image into the running guest.
    case activating
    /// The guest runs here.
    case active
    /// The image was given up at a planned end.
    case dropped
    /// The guest crashed at the primary; the image is kept, for a person to decide on.
    case crashed

    // Said by `remusd status` where a process cannot speak for itself.
    /// Its socket is there and nobody serves it: the process died.
    case dead
    /// It accepts connections and does not answer.
    case silent
}

/// One guest as one process sees it: the object of `GET /v1/status` and of `remusd status --output json`.
package struct GuestStatus: Codable, Equatable, Sendable {
    /// Numbers of the newest epoch sent, acknowledged by the standby, and committed there; null before the first,
    /// which is epoch 0, the initial sync.
    package struct Epoch: Codable, Equatable, Sendable {
        package var sent: UInt64?
        package var acked: UInt64?
        package var committed: UInt64?

        package init(sent: UInt64? = nil, acked: UInt64? = nil, committed: UInt64? = nil) {
            self.sent = sent
            self.acked = acked
            self.committed = committed
        }
    }

    /// Pages of 4 KiB.
    package struct Pages: Codable, Equatable, Sendable {
        /// In the last epoch.
        package var dirtyLast: UInt64
        /// Since protection began.
        package var sentTotal: UInt64
        /// Of an epoch, the median; absent before the first.
        package var dirtyP50: UInt64?
        /// Bytes of the stream since protection began, and what they were on the wire, where pages may be encoded.
        package var streamBytes: UInt64?
        package var wireBytes: UInt64?

        package init(
            dirtyLast: UInt64,
            sentTotal: UInt64,
            dirtyP50: UInt64? = nil,
            streamBytes: UInt64? = nil,
            wireBytes: UInt64? = nil
        ) {
            self.dirtyLast = dirtyLast
            self.sentTotal = sentTotal
            self.dirtyP50 = dirtyP50
            self.streamBytes = streamBytes
            self.wireBytes = wireBytes
        }

        package enum CodingKeys: String, CodingKey {
            case dirtyLast = "dirty_last"
            case sentTotal = "sent_total"
            case dirtyP50 = "dirty_p50"
            case streamBytes = "stream_bytes"
            case wireBytes = "wire_bytes"
        }
    }

    /// How long the guest stands still per checkpoint, in microseconds.
    package struct Pause: Codable, Equatable, Sendable {
        package var p50: UInt64
        package var p99: UInt64
        package var last: UInt64

        package init(p50: UInt64, p99: UInt64, last: UInt64) {
            self.p50 = p50
            self.p99 = p99
            self.last = last
        }

        package enum CodingKeys: String, CodingKey {
            case p50 = "p50_us"
            case p99 = "p99_us"
            case last = "last_us"
        }
    }

    /// How long output waits for its release, in microseconds.
    package struct OutputLatency: Codable, Equatable, Sendable {
        package var p50: UInt64
        package var p99: UInt64

        package init(p50: UInt64, p99: UInt64) {
            self.p50 = p50
            self.p99 = p99
        }
    }

    /// How far the initial sync is.
    package struct Sync: Codable, Equatable, Sendable {
        package var donePages: UInt64
        package var totalPages: UInt64

        package init(donePages: UInt64, totalPages: UInt64) {
            self.donePages = donePages
            self.totalPages = totalPages
        }

        package enum CodingKeys: String, CodingKey {
            case donePages = "done_pages"
            case totalPages = "total_pages"
        }
    }

    /// Who grants generations.
    package struct Arbiter: Codable, Equatable, Sendable {
        package var name: String
        /// False: a person does.
        package var decides: Bool
        /// It was asked, and what it was asked is not settled.
        package var isAsking: Bool
        /// What it said last, or why it said nothing; absent before.
        package var lastAnswer: String?

        package init(name: String, decides: Bool, isAsking: Bool, lastAnswer: String? = nil) {
            self.name = name
            self.decides = decides
            self.isAsking = isAsking
            self.lastAnswer = lastAnswer
        }

        package enum CodingKeys: String, CodingKey {
            case name, decides
            case isAsking = "asking"
            case lastAnswer = "last_answer"
        }
    }

    /// `remusd.status/1`. Keys may be added under this number; none is removed or changes its meaning.
    package static let currentSchema = "remusd.status/1"

    // ---- Always present in JSON.

    package var schema: String
    package var guest: String
    /// In text form; empty if not known.
    package var uuid: String
    package var role: GuestRole
    package var state: GuestState
    /// True only while a failure of the primary's host loses nothing that anyone outside has seen.
    package var protected: Bool
    package var generation: UInt64
    /// The session's id, in hexadecimal; null before the first.
    package var session: String?
    package var epoch: Epoch
    /// Since the last acknowledgement was received (primary) or sent (standby), in milliseconds; null before the first.
    package var lastAckAgeMs: UInt64?
    /// Output held now, in bytes; null where nobody knows.
    package var heldBytes: UInt64?
    /// Whether `remusd activate` would start the guest here, now, without any further confirmation.
    package var mayActivate: Bool
    /// Why not protected, or why not to be activated: one sentence each, the most important first.
    package var reasons: [String]

    // ---- Where they apply.

    /// Why the other side is lost, while it is (`LinkFailure`): `reset`, `stopped`, `unreachable`, `slow`, ….
    package var linkFailure: String?
    /// Since anything of the other side's was heard of last, in milliseconds.
    package var lastContactAgeMs: UInt64?
    /// Packets held now.
    package var heldPackets: UInt64?
    /// Packets that were dropped since the protection began: as much was held as may be, or their interface went.
    package var droppedPackets: UInt64?
    /// How full the fullest interface's plug is, in per cent of what it may hold.
    package var heldPercent: UInt64?
    /// The other side's address.
    package var peer: String?
    /// How the connection to it is protected: `tls1.3/` and the cipher, or `plaintext`; absent without one.
    package var transport: String?
    /// Where clients reach the guest.
    package var address: String?
    /// From suspend to suspend, in milliseconds; where that changes, as it is now.
    package var intervalMs: UInt64?
    /// Where it changes: what output is to wait, in milliseconds.
    package var latencyTargetMs: UInt64?
    package var pages: Pages?
    package var pause: Pause?
    package var outputLatencyUs: OutputLatency?
    /// How dirty pages are found: `pagemap`, `compare`, `log-dirty`.
    package var dirtyTracking: String?
    /// Who reads a Xen guest's memory and state: `native` or `libxenguest`.
    package var engine: String?
    /// The guest's RAM.
    package var memoryBytes: UInt64?
    /// Of that, what is backed by memory.
    package var populatedBytes: UInt64?
    package var arbiter: Arbiter?
    /// What the standby may use for all its images.
    package var memoryCeilingBytes: UInt64?
    /// What it uses.
    package var memoryUsedBytes: UInt64?
    /// How the image is kept for its activation: `cold`, as memory, or `warm`, as a paused domain.
    package var activation: String?
    /// What the guest, started at this standby, would take of the hypervisor's memory, and what is free of it.
    package var startNeedsBytes: UInt64?
    package var startFreeBytes: UInt64?
    /// Since the image's last commit, in milliseconds.
    package var imageAgeMs: UInt64?
    package var sync: Sync?
    /// When this state began: RFC 3339, UTC.
    package var since: String?
    /// The guest is active here and has a primary's status of its own beside this one.
    package var isPrimaryHere: Bool?
    /// This primary died, and the guest was activated here since: its copy is outdated, and the standby's line counts.
    package var isSucceededHere: Bool?

    package init(
        guest: String,
        uuid: String = "",
        role: GuestRole,
        state: GuestState,
        protected: Bool = false,
        generation: UInt64 = 0,
        session: String? = nil,
        epoch: Epoch = Epoch(),
        lastAckAgeMs: UInt64? = nil,
        heldBytes: UInt64? = 0,
        mayActivate: Bool = false,
        reasons: [String] = []
    ) {
        schema = Self.currentSchema
        self.guest = guest
        self.uuid = uuid
        self.role = role
        self.state = state
        self.protected = protected
        self.generation = generation
        self.session = session
        self.epoch = epoch
        self.lastAckAgeMs = lastAckAgeMs
        self.heldBytes = heldBytes
        self.mayActivate = mayActivate
        self.reasons = reasons
    }
}
