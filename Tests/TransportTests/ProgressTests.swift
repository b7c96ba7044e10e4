import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Transport

/// How far data has come is told by the peer's kernel: what waits in our own has not moved, and what is no data does not count.
@Suite struct ProgressTests {
    @Test func whatWaitsInTheKernelHasNotCome() throws {
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        let connection = try PrimaryConnection(connectingTo: TCP.localAddress(of: listener))
        let far = try #require(try TCP.accept(listener))
        while !connection.isConnected {
            _ = Poll.wait(connection.descriptor, writable: true, milliseconds: 50)
            try connection.finishConnecting()
        }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 << 20, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 3)
        defer { memory.deallocate() }
        connection.send(UnsafeRawBufferPointer(memory), epoch: 1, endsEpoch: true)
        // Nobody reads: the kernels take what they have room for.
        try connection.flush()
        let stuck = settled(connection)
        #expect(stuck > 0 && stuck < connection.dataSent)
        let beat = Message.heartbeat(Heartbeat(number: 1, sentAt: Instant(nanoseconds: 1)))
        try connection.queue(beat, session: 7)
        try connection.flush()
        #expect(settled(connection) == stuck)
        // The peer reads some: it moves, also where nothing more was written.
        var scrap = [UInt8](repeating: 0, count: 1 << 20)
        var (read, moved) = (0, false)
        while read < memory.count {
            read += max(0, recv(far.raw, &scrap, scrap.count, 0))
            moved = moved || connection.dataDelivered() > stuck
            try connection.flush()
        }
        #expect(moved && connection.isDrained)
        let all = settled(connection)
        #expect(all >= UInt64(memory.count))
        try connection.queue(beat, session: 7)
        try connection.flush()
        #expect(settled(connection) == all)
    }

    /// How far it has come when it moves no more.
    private func settled(_ connection: PrimaryConnection) -> UInt64 {
        var last = connection.dataDelivered()
        while true {
            usleep(100_000)
            let now = connection.dataDelivered()
            if now == last { return now }
            last = now
        }
    }
}
