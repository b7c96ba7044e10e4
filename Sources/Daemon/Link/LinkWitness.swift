import Checkpoint
import SystemSupport
import Transport

/// What one side remembers of its connection to the other, so that a loss can be told apart from others (`LinkFailure`).
struct LinkWitness: Sendable {
    /// Why the other side is lost; nil while it is not.
    private(set) var failure: LinkFailure?
    /// The last loss is of another kind than the one before. Tries that fail one after the other say the same in changing words.
    private(set) var isNews = true
    /// When anything of the other side's made sense last, boot clock.
    private(set) var lastContact: Instant?
    /// The same, or when this side listened last.
    private var listenedAt: Instant?
    /// How the connection of now ended, where its socket said so.
    private var end: LinkFacts.End?
    private var kernel: LinkFacts.Kernel?

    init(lastContact: Instant? = nil) { self.lastContact = lastContact }

    /// A connection is tried: what an older one said is over.
    mutating func tries() {
        end = nil
        kernel = nil
    }

    /// A connection is there: this side listens from now on.
    mutating func begins(at now: Instant) {
        tries()
        listenedAt = now
    }

    /// The two sides understand each other.
    mutating func isUp() { failure = nil }

    mutating func heard(at now: Instant) {
        lastContact = now
        listenedAt = now
    }

    /// This side was busy, and silence does not count.
    mutating func wasBusy(until now: Instant) { listenedAt = now }

    /// To be called while a connection that is given up is still open.
    mutating func sees(_ connection: (any ObservedConnection)?) {
        guard let connection else { return }
        kernel = connection.kernelFacts
    }

    /// The socket itself said how it ended.
    mutating func ended(_ error: ConnectionError) { end = LinkFacts.End(error) }

    /// The same of a connection that was not made.
    mutating func ended(_ error: SystemError) { end = LinkFacts.End(error) }

    /// The connection is lost.
    /// - Parameter otherwise: how it ended where the socket did not say.
    mutating func lost(at now: Instant, _ otherwise: (_ silence: TimeSpan) -> LinkFacts.End) -> LinkFailure {
        let silence = listenedAt.map { now - $0 } ?? TimeSpan(nanoseconds: 0)
        let judged = LinkFailure(LinkFacts(end ?? otherwise(silence), kernel: kernel))
        end = nil
        kernel = nil
        isNews = failure != judged
        failure = judged
        return judged
    }
}
