import Checkpoint
import Logging
import SystemSupport
import Transport

/// How one guest's pages are encoded, over all connections of its sessions. Belongs to the engine's thread.
final class StreamEncoding {
    /// So often in a row, without a commit, the standby could not make an epoch of what was sent: the next connection is plain.
    private static let patience = 2

    private let choice: EncodingChoice
    private let pageCount: Int
    private let log: Logger
    private var encoder: PageEncoder?
    /// What the encoder was made for.
    private var offered: PageEncodings = []
    /// The shadow's, as large as the guest; nil where none is needed.
    private var memory: Mapping?
    /// Encoded epochs that the standby refused, since the last commit.
    private var refused = 0
    /// What this connection's counters said last.
    private var stream: UInt64 = 0, wire: UInt64 = 0

    init(_ choice: EncodingChoice, pageCount: Int, log: Logger) {
        self.choice = choice
        self.pageCount = pageCount
        self.log = log
    }

    /// A standby has answered: what is sent on `connection` from now on is encoded as it takes it, or plain.
    func begin(on connection: PrimaryConnection, offered: PageEncodings) {
        guard connection.streamSent == 0, connection.isDrained else { return }
        (stream, wire) = (0, 0)
        // What is sent plain passes the shadow by, which is worth nothing afterwards.
        let offered = offered.intersection(choice.encodings)
        guard !offered.isEmpty else { return forget() }
        guard refused < Self.patience else {
            log.warning("the standby cannot make an epoch of what is encoded: epochs are sent plain")
            return forget()
        }
        if encoder == nil || offered != self.offered { make(offered) }
        encoder?.shadow?.beginConnection()
        connection.encoder = encoder
    }

    private func forget() {
        encoder = nil
        memory = nil
    }

    private func make(_ offered: PageEncodings) {
        forget()
        self.offered = offered
        guard !offered.isDisjoint(with: .againstImage) else {
            encoder = PageEncoder(offered, shadow: nil)
            return
        }
        do throws(SystemError) {
            let memory = try Mapping.anonymous(count: pageCount * guestPageSize)
            memory.preferHugePages()
            self.memory = memory
            encoder = PageEncoder(offered, shadow: PageShadow(memory: memory.bytes, pageCount: pageCount))
        } catch {
            log.warning("no memory to compare pages with what was sent last: \(error)")
            encoder = PageEncoder(offered, shadow: nil)
        }
    }

    /// The standby begins a new, empty image.
    func restart() {
        memory?.discardContents()
        encoder?.shadow?.restart()
    }

    /// The epoch that was sent is committed.
    func commit() {
        refused = 0
        encoder?.shadow?.commit()
    }

    /// The standby could not put together what was sent. The epoch is sent again, and nothing in it is a difference.
    func wasRefused() {
        guard let encoder else { return }
        refused += 1
        encoder.shadow?.distrust()
    }

    /// Bytes sent since the last time: of the stream, and what they were on the wire.
    func sent(on connection: PrimaryConnection) -> (stream: UInt64, wire: UInt64) {
        defer { (stream, wire) = (connection.streamSent, connection.dataSent) }
        return (connection.streamSent &- stream, connection.dataSent &- wire)
    }
}
