/// Why a side lost the other, told apart so that whoever is called at night knows where to look: the words of `link_failure`
/// in `status`, of the log, and of hooks.
package enum LinkFailure: String, CaseIterable, Sendable {
    /// The peer's host ended the connection: its process ended, or was restarted, or its host was.
    case reset
    /// The peer's host answers, and nobody listens there.
    case notListening = "not-listening"
    /// The peer's host acknowledges what is sent, and its process says nothing: stopped, hung, or starved.
    case stopped
    /// Nothing is acknowledged: the peer's host is off, or the link carries nothing.
    case unreachable
    /// The link carries bytes, and too few of them.
    case slow
    /// The peer beats, takes what it is sent, and commits nothing.
    case notCommitting = "not-committing"
    /// The peer says no, and why.
    case refused
    /// The peer broke the protocol.
    case violation
    /// This side ended it: what it could not do is in the reason.
    case ended
    /// Nothing was heard, and nothing was under way that a kernel could have acknowledged: no more is known.
    case silent

    /// What it means, for people, of `peer`: "the standby" or "the primary".
    package func sentence(of peer: String) -> String {
        switch self {
        case .reset: "\(peer)'s host ended the connection: its process ended or was restarted"
        case .notListening: "\(peer)'s host answers, and no remusd listens there"
        case .stopped:
            "\(peer)'s host acknowledges and its process says nothing: stopped, hung, or starved of processor"
        case .unreachable: "\(peer)'s host acknowledges nothing: it is off, or the link carries nothing"
        case .slow: "the link to \(peer) carries too little"
        case .notCommitting: "\(peer) beats and commits nothing: it is failing, or overloaded"
        case .refused: "\(peer) refused"
        case .violation: "\(peer) broke the protocol"
        case .ended: "this side ended the connection"
        case .silent: "\(peer) went silent"
        }
    }
}

extension LinkFailure {
    /// Whether it was found out by waiting; else a connection ended at once, and may be back in a moment.
    package var tookTime: Bool {
        switch self {
        case .stopped, .unreachable, .slow, .notCommitting, .silent: true
        case .reset, .notListening, .refused, .violation, .ended: false
        }
    }

    /// A loss for people: what it was judged to be, and what was said at the moment.
    package static func text(_ failure: LinkFailure?, of peer: String, _ said: String) -> String {
        failure.map { "\($0.rawValue): \($0.sentence(of: peer)) (\(said))" } ?? said
    }
}

/// What was seen of a connection when it was given up. Whoever owns the socket takes it; `LinkFailure` judges it.
package struct LinkFacts: Equatable, Sendable {
    /// How the connection ended.
    package enum End: Equatable, Sendable {
        /// The peer's host ended it, in order or not (end of file, ECONNRESET, EPIPE).
        case byPeer
        /// Nobody listens there (ECONNREFUSED).
        case nobodyListens
        /// The kernel gave up, or knows no way there (ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, …), or a connection was not
        /// made in time.
        case noAnswer
        /// This side gave up: nothing was heard for so long.
        case silence(TimeSpan)
        /// This side gave up: an epoch did not become committed, and the peer was heard of so long ago.
        case noCommit(silence: TimeSpan)
        case refused
        case violation
        /// This side ended it for reasons of its own.
        case byUs
    }

    /// What the kernel knew of the connection at that moment.
    package struct Kernel: Equatable, Sendable {
        /// Segments and window probes that the peer's kernel has not acknowledged.
        package var unacknowledged: UInt32
        /// Bytes handed to the kernel that it has not sent: the link, or the peer's window, does not let it.
        package var unsentBytes: UInt32
        /// Since the peer's kernel acknowledged anything, or was heard otherwise.
        package var sinceAcknowledgement: TimeSpan
        /// Since bytes of the peer came, read or not.
        package var sinceData: TimeSpan

        package init(
            unacknowledged: UInt32,
            unsentBytes: UInt32 = 0,
            sinceAcknowledgement: TimeSpan,
            sinceData: TimeSpan
        ) {
            self.unacknowledged = unacknowledged
            self.unsentBytes = unsentBytes
            self.sinceAcknowledgement = sinceAcknowledgement
            self.sinceData = sinceData
        }
    }

    package var end: End
    /// Nil for what is no TCP connection, or is none any more.
    package var kernel: Kernel?

    package init(_ end: End, kernel: Kernel? = nil) {
        self.end = end
        self.kernel = kernel
    }
}

extension LinkFailure {
    /// Judges what was seen.
    ///
    /// Both sides send a beat each 100 ms, so something is nearly always to be acknowledged. A kernel acknowledges what it received within
    /// 200 ms or so (RFC 9293, 3.8.6.3: 500 ms at most), whatever its processes do; a host that is off, or behind a link
    /// that carries nothing, never does. Half of the silence, half a second at least, tells the two apart. A peer that commits
    /// nothing and does not beat either, for ten beats, is judged by that.
    package init(_ facts: LinkFacts) {
        switch facts.end {
        case .byPeer: self = .reset
        case .nobodyListens: self = .notListening
        case .noAnswer: self = .unreachable
        case .refused: self = .refused
        case .violation: self = .violation
        case .byUs: self = .ended
        case .silence(let span): self.init(silence: span, facts.kernel)
        case .noCommit(let span) where span >= .seconds(1): self.init(silence: span, facts.kernel)
        case .noCommit:
            // Segments under way, more than a beat's or two, are the link's to carry; none, with bytes that wait, is a window
            // that the peer keeps shut.
            let (underWay, waiting) = (facts.kernel?.unacknowledged ?? 0, facts.kernel?.unsentBytes ?? 0)
            self = underWay > 2 || underWay > 0 && waiting > 0 ? .slow : .notCommitting
        }
    }

    private init(silence span: TimeSpan, _ kernel: LinkFacts.Kernel?) {
        guard let kernel else {
            self = .silent
            return
        }
        let half = span.percent(50)
        if kernel.sinceAcknowledgement >= half {
            // A side that waits for the rest of a frame sends no beats: then nobody can tell.
            self = kernel.unacknowledged > 0 ? .unreachable : .silent
        } else if kernel.sinceData < half {
            // Bytes come, and no whole message in all that time.
            self = .slow
        } else {
            self = .stopped
        }
    }

    /// How long the kernel may keep sending what nobody acknowledges (TCP_USER_TIMEOUT): longer than this side waits for
    /// anything, so that it is remusd that judges, and bounded where remusd does not look.
    package static func kernelLimit(aloneAfter: TimeSpan) -> TimeSpan {
        let suspect = ProtectSettings.suspectAfter(aloneAfter)
        return min(.seconds(3600), max(.seconds(20), suspect + suspect))
    }
}

extension LinkLoss {
    /// How the connection ended, as far as the machine knows.
    /// - Parameter silence: since the peer was heard of last.
    package func end(silence: TimeSpan) -> LinkFacts.End {
        switch self {
        case .connectFailed: .noAnswer
        case .reset: .byUs
        case .silence, .handshakeTimeout: .silence(silence)
        case .notAcknowledging: .noCommit(silence: silence)
        case .violation: .violation
        case .refused: .refused
        }
    }
}
