import Checkpoint
import SystemSupport
import Testing
import XenStream

@testable import Transport

/// A standby's end that reads plain frames takes the next one's header with what is before it.
@Suite struct ReadAheadTests {
    /// Whatever comes at once and whatever is asked for at once, every byte arrives, once and in its order.
    @Test func everyByteArrivesInItsOrder() throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        let connection = try StandbyConnection(over: far, peer: "test")
        var random = SplitMix(state: 5)
        var (sent, read) = (0, 0)
        func byte(_ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: index &* 31 &+ index >> 8) }
        for _ in 0..<2000 {
            let count = Int.random(in: 0...100, using: &random)
            let bytes = (sent..<sent + count).map(byte)
            let taken = try bytes.withUnsafeBytes { try near.sendNow($0) } ?? 0
            sent += count == 0 ? 0 : taken
            let wanted = min(Int.random(in: 0...80, using: &random), sent - read)
            let target = UnsafeMutableRawBufferPointer.allocate(byteCount: wanted, alignment: 1)
            defer { target.deallocate() }
            // What was read ahead counts, though the socket has no more.
            if wanted > 0 { #expect(connection.waitForFrame(milliseconds: 0)) }
            try connection.read(into: target)
            #expect(target.elementsEqual((read..<read + wanted).map(byte)))
            read += wanted
            #expect(connection.waitForFrame(milliseconds: 0) == (read < sent))
        }
        near.shutDown()
        let rest = UnsafeMutableRawBufferPointer.allocate(byteCount: sent - read + 1, alignment: 1)
        defer { rest.deallocate() }
        try connection.read(into: UnsafeMutableRawBufferPointer(rebasing: rest[..<(sent - read)]))
        #expect(rest[..<(sent - read)].elementsEqual((read..<sent).map(byte)))
        #expect(throws: ConnectionError.self) {
            try connection.read(into: UnsafeMutableRawBufferPointer(rebasing: rest[(sent - read)...]))
        }
    }
}
