import Checkpoint
import Logging
import SystemSupport
import Testing
import Transport

@testable import Daemon

/// When a connection is encoded, and when it is not.
@Suite struct StreamEncodingTests {
    private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// What a new connection is encoded in.
    private func encodings(_ encoding: StreamEncoding, offered: PageEncodings = .all) throws -> PageEncodings?
    {
        let (near, far) = try UnixSocket.pairOfStreams()
        defer { withExtendedLifetime(far) {} }
        let connection = PrimaryConnection(over: near)
        encoding.begin(on: connection, offered: offered)
        return connection.encoder?.encodings
    }

    @Test func asItWasAskedForAndAsTheStandbyTakesIt() throws {
        let delta = StreamEncoding(.delta, pageCount: 16, log: log)
        #expect(try encodings(delta) == .all)
        #expect(try encodings(delta, offered: [.zero, .lz4]) == [.zero, .lz4])
        #expect(try encodings(delta, offered: []) == nil)
        let lz4 = StreamEncoding(.lz4, pageCount: 16, log: log)
        #expect(try encodings(lz4) == [.zero, .lz4])
        #expect(try encodings(lz4, offered: [.unchanged, .delta]) == nil)
        #expect(try encodings(StreamEncoding(.plain, pageCount: 16, log: log)) == nil)
    }

    @Test func twoRefusalsInARowArePlainUntilSomethingIsCommitted() throws {
        let encoding = StreamEncoding(.delta, pageCount: 16, log: log)
        #expect(try encodings(encoding) == .all)
        encoding.wasRefused()
        #expect(try encodings(encoding) == .all)
        encoding.commit()
        encoding.wasRefused()
        #expect(try encodings(encoding) == .all)
        encoding.wasRefused()
        #expect(try encodings(encoding) == nil)
        // A refusal of what went plain says nothing about encodings.
        encoding.wasRefused()
        encoding.commit()
        #expect(try encodings(encoding) == .all)
    }
}
