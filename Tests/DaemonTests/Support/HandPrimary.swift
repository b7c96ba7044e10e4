import Checkpoint
import SystemSupport
import Transport
import XenStream

/// A primary that a test moves by hand: says hello, sends a sample's epochs, one after the other's ack, and beats.
final class HandPrimary {
    let connection: PrimaryConnection
    private let sample: SampleStream
    private let epochs: [[UInt8]]
    private let host: String
    private let guest: String
    private var bytes: UnsafeMutableRawBufferPointer?
    private var nextBeat: UInt64 = 0
    private var beats: UInt64 = 0
    private var sent = 0
    private(set) var acked = 0
    private(set) var isWelcome = false
    private(set) var refusal: Refusal?
    private(set) var lost: ConnectionError?

    init(to address: SocketAddress, _ security: LinkSecurity, host: String, guest: String = "sample") throws {
        connection = try PrimaryConnection(connectingTo: address, security: security)
        sample = SampleStream(.hvm, pages: 40, checkpoints: 60, seed: 5)
        epochs = sample.epochs
        self.host = host
        self.guest = guest
    }

    deinit { bytes?.deallocate() }

    /// Moves on until `condition`, a refusal, a loss, or twenty seconds.
    func pump(until condition: (HandPrimary) -> Bool) {
        let deadline = Clock.monotonic + 20_000_000_000
        while lost == nil, refusal == nil, !condition(self), Clock.monotonic < deadline {
            do throws(ConnectionError) {
                try beat()
                let writable = connection.wantsToWrite
                guard Poll.wait(connection.descriptor, writable: writable, milliseconds: 10) else { continue }
                try step()
            } catch {
                lost = error
            }
        }
    }

    /// Sends the next epoch and waits for its ack.
    func commit() {
        guard sent < epochs.count, lost == nil else { return }
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: epochs[sent].count, alignment: 16)
        bytes.copyBytes(from: epochs[sent])
        connection.send(UnsafeRawBufferPointer(bytes), epoch: UInt64(sent), endsEpoch: true)
        self.bytes?.deallocate()
        self.bytes = bytes
        sent += 1
        pump { $0.acked == $0.sent }
    }

    private func step() throws(ConnectionError) {
        guard connection.isConnected else {
            try connection.finishConnecting()
            if connection.isConnected { try connection.queue(.hello(hello), session: 1) }
            return
        }
        try connection.receive { message, _ in
            switch message {
            case .welcome: isWelcome = true
            case .ack(let epoch): acked = Int(epoch) + 1
            case .refuse(let said): refusal = said
            default: break
            }
        }
        try connection.flush()
    }

    private func beat() throws(ConnectionError) {
        let now = Clock.monotonic
        guard isWelcome, now >= nextBeat else { return }
        nextBeat = now + 100_000_000
        beats += 1
        let beat = Heartbeat(number: beats, sentAt: Instant(nanoseconds: now))
        try connection.queue(.heartbeat(beat), session: 1)
    }

    private var hello: Hello {
        .sample(guest: guest, pages: sample.pages, aloneAfter: .seconds(60), host: host)
    }
}
