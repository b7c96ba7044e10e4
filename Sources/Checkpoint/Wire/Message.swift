/// Versions of the protocol between two remusd. Each side names the oldest and the newest it speaks; the standby
/// picks the highest common one.
package enum ProtocolVersion {
    package static let oldest: UInt16 = 1
    package static let newest: UInt16 = 2
    /// The first with page encodings: a welcome names them.
    package static let withEncodings: UInt16 = 2

    /// The version to speak with a peer that speaks `oldest ... newest`, nil if there is none.
    package static func common(oldest peerOldest: UInt16, newest peerNewest: UInt16) -> UInt16? {
        let version = min(newest, peerNewest)
        return version >= max(oldest, peerOldest) ? version : nil
    }
}

/// A process on the primary, told so that a standby on the same machine can see it end.
package struct ProcessIdentity: Equatable, Sendable {
    package var pid: Int32
    /// Clock ticks since boot (/proc/PID/stat, field 22); with the pid it names one process for ever.
    package var startTime: UInt64

    package init(pid: Int32, startTime: UInt64) {
        self.pid = pid
        self.startTime = startTime
    }
}

/// The primary's first word on a connection.
package struct Hello: Equatable, Sendable {
    package var oldestVersion = ProtocolVersion.oldest
    package var newestVersion = ProtocolVersion.newest
    package var guest: GuestDescription
    package var generation: UInt64
    /// The session to go on with, or a new one's number.
    package var session: UInt64
    /// The newest epoch the primary knows to be committed in this session, nil for a session that has none.
    package var ackedEpoch: UInt64?
    /// True if all output since the standby's image is still held: that image may still be activated, and is kept
    /// until a newer one is whole. False if the guest ran unprotected since: an older image is outdated.
    package var imageStillValid: Bool
    /// True if the guest's output does not wait for acks: its primary is an xl (docs/interop.md), which knows none.
    package var unacknowledged = false
    /// True if the guest has a writable disk that nobody replicates: holding its output does not fence that.
    package var hasUnreplicatedDisk = false
    /// The primary's arbiter; nil if it has none.
    package var arbiter: String?
    /// Pages that hold data now; what the standby has to find room for first.
    package var populatedPages: UInt64
    /// Most bytes one epoch may take.
    package var epochCapacity: UInt64
    package var aloneAfter: TimeSpan
    /// The primary's boot (random per boot) and host name.
    package var bootID: String
    package var host: String
    package var protectProcess: ProcessIdentity
    package var guestProcess: ProcessIdentity

    package init(
        guest: GuestDescription,
        generation: UInt64,
        session: UInt64,
        ackedEpoch: UInt64?,
        imageStillValid: Bool,
        populatedPages: UInt64,
        epochCapacity: UInt64,
        aloneAfter: TimeSpan,
        bootID: String,
        host: String,
        protectProcess: ProcessIdentity,
        guestProcess: ProcessIdentity
    ) {
        self.guest = guest
        self.generation = generation
        self.session = session
        self.ackedEpoch = ackedEpoch
        self.imageStillValid = imageStillValid
        self.populatedPages = populatedPages
        self.epochCapacity = epochCapacity
        self.aloneAfter = aloneAfter
        self.bootID = bootID
        self.host = host
        self.protectProcess = protectProcess
        self.guestProcess = guestProcess
    }
}

/// The standby's yes.
package struct Welcome: Equatable, Sendable {
    package var version: UInt16
    /// The epoch the standby has committed of this session; nil means: start with epoch 0, the initial sync.
    package var committedEpoch: UInt64?
    /// True if the standby still keeps an older image that may be activated. Where false, output that an older
    /// session held may go: nothing here can be activated.
    package var keepsOlderImage: Bool
    /// Most bytes the standby may use for images and epochs, and what it uses.
    package var memoryCeiling: UInt64
    package var memoryUsed: UInt64
    package var host: String
    /// How pages may be sent besides as they are. From version 2 on.
    package var encodings: PageEncodings = []

    package init(
        version: UInt16,
        committedEpoch: UInt64?,
        keepsOlderImage: Bool,
        memoryCeiling: UInt64,
        memoryUsed: UInt64,
        host: String
    ) {
        self.version = version
        self.committedEpoch = committedEpoch
        self.keepsOlderImage = keepsOlderImage
        self.memoryCeiling = memoryCeiling
        self.memoryUsed = memoryUsed
        self.host = host
    }
}

/// Why the standby will not have, or no longer has, a session.
package enum RefusalReason: UInt16, Equatable, Sendable {
    case noCommonVersion = 1
    /// The guest is active here at `generation`, or being activated.
    case active = 2
    /// The standby knows a generation as high as, or higher than, the primary's, and is not active.
    case generationTooLow = 3
    /// Another connection for this guest is alive.
    case busy = 4
    /// It does not fit below the memory ceiling.
    case noMemory = 5
    /// The peer sent what the protocol or the stream does not allow.
    case violation = 6
    case stopping = 7
    /// The standby could not do its part (its disk, its memory).
    case failure = 8
    /// The primary waits for no ack, and the standby was not told to take such a one.
    case unsafePeer = 9
    /// The standby does not take this primary, or not this guest of it (docs/security.md).
    case notAllowed = 10
    /// The two sides were started with different arbiters.
    case arbiterDiffers = 11
}

/// The standby's no, before or during a session.
package struct Refusal: Equatable, Sendable {
    package var reason: RefusalReason
    /// The highest generation the standby knows of this guest.
    package var generation: UInt64
    package var text: String

    package init(reason: RefusalReason, generation: UInt64, text: String) {
        self.reason = reason
        self.generation = generation
        self.text = text
    }
}

/// The end of an epoch's bytes: what the standby checks before it acknowledges.
package struct EpochEnd: Equatable, Sendable {
    package var length: UInt64
    /// CRC-32C over all bytes of the epoch, in order.
    package var checksum: UInt32

    package init(length: UInt64, checksum: UInt32) {
        self.length = length
        self.checksum = checksum
    }
}

/// A heartbeat's number and the sender's boot clock; an echo carries both back.
package struct Heartbeat: Equatable, Sendable {
    package var number: UInt64
    package var sentAt: Instant

    package init(number: UInt64, sentAt: Instant) {
        self.number = number
        self.sentAt = sentAt
    }
}

/// Why protection ends on purpose (design, "Ends").
package enum PlannedEndReason: UInt8, Equatable, Sendable {
    case unprotect = 1
    case shutdown = 2
    case reboot = 3
    /// The guest crashed: the image is kept, and never activated automatically.
    case crashed = 4
    /// The peer beats but does not commit, and the guest has to go on without it.
    case continueAlone = 5
}

/// The first phase of a planned end.
package struct PlannedEnd: Equatable, Sendable {
    package var reason: PlannedEndReason
    /// The generation at which the image is outdated: one more than the session's.
    package var generation: UInt64

    package init(reason: PlannedEndReason, generation: UInt64) {
        self.reason = reason
        self.generation = generation
    }
}

/// The second phase: what became of the image, durably.
package enum PlannedEndAnswer: UInt8, Equatable, Sendable {
    case dropped = 1
    /// Kept after a crash, for `activate` by hand.
    case kept = 2
}

/// Instead of a hello: what do you know of this guest? Answered with a claim, and the connection ends.
package struct Inquiry: Equatable, Sendable {
    package var name: String
    package var uuid: GuestUUID

    package init(name: String, uuid: GuestUUID) {
        self.name = name
        self.uuid = uuid
    }
}

/// Everything but data that two remusd say to each other.
package enum Message: Equatable, Sendable {
    case hello(Hello)
    case welcome(Welcome)
    case refuse(Refusal)
    case epochEnd(epoch: UInt64, EpochEnd)
    case ack(epoch: UInt64)
    case heartbeat(Heartbeat)
    case heartbeatEcho(Heartbeat)
    case plannedEnd(PlannedEnd)
    case plannedEndAnswer(PlannedEndAnswer, generation: UInt64)
    case inquiry(Inquiry)
    case claim(HostClaim)
}
