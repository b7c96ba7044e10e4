import Checkpoint
import SystemSupport

/// What an operator's programs are told of: docs/hooks.md.
package enum HookEvent: String, Codable, CaseIterable, Sendable {
    /// The other side has not been heard of for as long as makes a loss.
    case peerLost = "peer-lost"
    /// The standby is about to be granted the guest; may be vetoed.
    case preActivate = "pre-activate"
    /// The guest runs at the standby.
    case postActivate = "post-activate"
    /// The guest is protected, for the first time or again.
    case postProtected = "post-protected"
    /// The primary goes on without a standby.
    case postAlone = "post-alone"
    /// The primary's copy may not run any more.
    case postOutdated = "post-outdated"
    /// Both sides ran.
    case postSplitBrain = "post-split-brain"
    /// Protection is over: unprotected, shut down, rebooted, crashed, or refused; or the activated guest is gone.
    case postEnded = "post-ended"
}

/// One event, as every hook of it is told.
package struct HookCall: Codable, Equatable, Sendable {
    package var event: HookEvent
    /// Rises with each event of this guest and role on this host, also over restarts.
    package var sequence: UInt64 = 0
    package var guest: String
    package var uuid: String
    /// What this host was to the guest, and is now; nil for nothing.
    package var roleOld: GuestRole?
    package var roleNew: GuestRole?
    /// As `status` says it.
    package var state = GuestState.starting
    package var generation: UInt64 = 0
    /// The newest epoch that is committed.
    package var epoch: UInt64?
    /// The standby's address; at the standby the primary's host, as `--confirm-fenced` wants it.
    package var peer = ""
    package var reason = ""
    /// A `LinkFailure`.
    package var link: String?
    /// Since the other side was heard of last.
    package var lastContactAgeMs: UInt64?
    /// Whether `remusd activate` would start the guest here without any confirmation.
    package var mayActivate = false
    /// When it happened, in nanoseconds since 1970.
    package var at: UInt64
    /// A daemon died before this event's hooks were done: they are told again, under the same number.
    package var isRetry = false

    package init(_ event: HookEvent, guest: String, uuid: String, at: UInt64 = Clock.wall) {
        self.event = event
        self.guest = guest
        self.uuid = uuid
        self.at = at
    }

    package var linkFailure: LinkFailure? {
        get { link.flatMap { LinkFailure(rawValue: $0) } }
        set { link = newValue?.rawValue }
    }

    /// The variables a hook gets, as `NAME=value`. All are there for every event; what does not apply is empty.
    package var environment: [String] {
        let optional: [(String, String?)] = [
            ("ROLE_OLD", roleOld?.rawValue), ("ROLE_NEW", roleNew?.rawValue),
            ("EPOCH", epoch.map { String($0) }), ("LINK_FAILURE", link),
            ("LAST_CONTACT_MS", lastContactAgeMs.map { String($0) }),
        ]
        let always: [(String, String?)] = [
            ("API", "1"), ("EVENT", event.rawValue), ("SEQ", String(sequence)),
            ("RETRY", isRetry ? "1" : "0"), ("VM", guest), ("UUID", uuid), ("STATE", state.rawValue),
            ("GENERATION", String(generation)), ("PEER", peer), ("REASON", reason),
            ("MAY_ACTIVATE", mayActivate ? "1" : "0"), ("TS_EPOCH", String(at / 1_000_000_000)),
            ("TS_USEC", String(at / 1000 % 1_000_000)),
        ]
        return (always + optional).map { "REMUS_\($0.0)=\(Self.plain($0.1 ?? ""))" }
    }

    /// A peer's words are in some of it: one line, no control characters, and not for ever.
    private static func plain(_ text: String) -> String {
        var line = ""
        for scalar in text.unicodeScalars.prefix(1024) {
            let isControl = scalar.value < 0x20 || scalar.value == 0x7F
            line.unicodeScalars.append(isControl ? " " : scalar)
        }
        return line
    }
}
