import Checkpoint
import SystemSupport
import Testing

@testable import Transport

/// A peer that never pauses.
@Suite struct FloodTests {
    /// Heartbeats as fast as they are read, for a long time.
    private final class FloodingChannel: ByteChannel, @unchecked Sendable {
        // Unchecked: one thread uses it.
        let socket: Descriptor
        let peerHost: String? = nil
        let transport = "test"
        let owesOutput = false
        private(set) var hasBuffered = true
        private(set) var reads = 0
        private let frame: [UInt8]
        private let far: Descriptor

        init() throws {
            (socket, far) = try UnixSocket.pairOfStreams()
            let beat = Heartbeat(number: 1, sentAt: Instant(nanoseconds: 1))
            frame = Message.heartbeat(beat).withFrame(session: 7) { Array($0) }
        }

        func handshake() -> Bool { true }

        func sendNow(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> Int? {
            first.count + second.count
        }

        func receiveNow(into target: UnsafeMutableRawBufferPointer) throws(ConnectionError) -> Int? {
            reads += 1
            // Without end, but for a test that would not end either.
            guard reads < 100_000 else { throw .closed }
            target.copyBytes(from: frame)
            return frame.count
        }

        func waitReadable(milliseconds: Int32) -> Bool { true }

        func pause() { hasBuffered = false }
    }

    @Test func aReaderHasItsTurnAgain() throws {
        let channel = try FloodingChannel()
        let connection = PrimaryConnection(over: channel)
        var messages = 0
        for round in 1...3 {
            try connection.receive { _, _ in messages += 1 }
            #expect(connection.mayHaveMore && messages == 32 * round && channel.reads == messages)
        }
        channel.pause()
        try connection.receive { _, _ in messages += 1 }
        #expect(!connection.mayHaveMore && messages == 97)
    }
}
