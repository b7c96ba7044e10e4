import Testing
import XenStream

@testable import Checkpoint

@Suite struct WireTests {
    private static let hello = Hello(
        guest: GuestDescription(
            name: "web1",
            uuid: GuestUUID(high: 0x0123_4567_89AB_4CDE, low: 0x8000_0000_0000_0001),
            kind: .pv,
            pageCount: 65_536,
            address: "127.0.0.1:6400",
            config: Array("{\"c_info\":{}}".utf8)
        ),
        generation: 3,
        session: 0xABCD,
        ackedEpoch: 7,
        imageStillValid: true,
        populatedPages: 12,
        epochCapacity: 1 << 30,
        aloneAfter: .seconds(10),
        bootID: "boot",
        host: "primary.example",
        protectProcess: ProcessIdentity(pid: 10, startTime: 11),
        guestProcess: ProcessIdentity(pid: 12, startTime: 13)
    )

    private static var unacknowledged: Hello {
        var hello = hello
        hello.imageStillValid = false
        hello.unacknowledged = true
        return hello
    }

    private static func offering(_ encodings: PageEncodings, version: UInt16 = 2) -> Welcome {
        var welcome = Welcome(
            version: version,
            committedEpoch: 3,
            keepsOlderImage: false,
            memoryCeiling: 9,
            memoryUsed: 8,
            host: "s"
        )
        welcome.encodings = encodings
        return welcome
    }

    private static let messages: [Message] = [
        .hello(hello),
        .hello(unacknowledged),
        .welcome(
            Welcome(
                version: 1,
                committedEpoch: nil,
                keepsOlderImage: true,
                memoryCeiling: 9,
                memoryUsed: 8,
                host: "s"
            )
        ),
        .welcome(offering([.zero, .lz4])),
        .refuse(Refusal(reason: .noMemory, generation: 4, text: "does not fit")),
        .epochEnd(epoch: 5, EpochEnd(length: 4096, checksum: 0xDEAD_BEEF)),
        .ack(epoch: 5),
        .heartbeat(Heartbeat(number: 6, sentAt: Instant(nanoseconds: 77))),
        .heartbeatEcho(Heartbeat(number: 6, sentAt: Instant(nanoseconds: 77))),
        .plannedEnd(PlannedEnd(reason: .crashed, generation: 4)),
        .plannedEndAnswer(.kept, generation: 4),
        .inquiry(Inquiry(name: "web1", uuid: GuestUUID(high: 1, low: 2))),
        .claim(HostClaim(primary: 3, outdatedBy: 4, standby: 5, holding: .image)),
    ]

    private func frame(_ message: Message, session: UInt64 = 0x1122) -> [UInt8] {
        message.withFrame(session: session) { Array($0) }
    }

    /// Decodes a whole frame as a receiver does.
    private func decode(_ bytes: [UInt8]) throws(FrameError) -> (FrameHeader, Message) {
        let result: Result<(FrameHeader, Message), FrameError> = bytes.withUnsafeBytes { bytes in
            do throws(FrameError) {
                guard bytes.count >= FrameHeader.size else { throw .badBody(.ack, "cut short") }
                let header = try FrameHeader(decoding: bytes)
                guard !header.type.isData else { throw .badBody(header.type, "data") }
                guard bytes.count == FrameHeader.size + Int(header.length) else {
                    throw .badBody(header.type, "cut short")
                }
                let body = UnsafeRawBufferPointer(rebasing: bytes[FrameHeader.size...])
                try header.check(bytes, body: body)
                return .success((header, try Message(header, body: body)))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    @Test func outputThatWentOutIsNotHeld() {
        var hello = Self.unacknowledged
        hello.imageStillValid = true
        #expect(throws: FrameError.self) { try decode(frame(.hello(hello))) }
    }

    @Test func anAckByteForByte() {
        var expected: [UInt8] = [0x52, 0x4D, 0x53, 0x44]  // magic "RMSD"
        expected += [6, 0, 0, 0]  // type ack, zero
        expected += [16, 0, 0, 0]  // body length
        let checksum: [UInt8] = Array(frame(.ack(epoch: 5))[12..<16])
        expected += checksum
        expected += [0x22, 0x11, 0, 0, 0, 0, 0, 0]  // session
        expected += [5, 0, 0, 0, 0, 0, 0, 0]  // epoch
        expected += [UInt8](repeating: 0, count: 16)  // reserved
        #expect(frame(.ack(epoch: 5)) == expected)
        // The checksum is over everything else, its own place zero.
        var zeroed = expected
        zeroed.replaceSubrange(12..<16, with: [0, 0, 0, 0])
        let crc = zeroed.withUnsafeBytes { SwiftKernels.crc32c(0, $0) }
        #expect(checksum == (0..<4).map { UInt8(truncatingIfNeeded: crc >> (8 * $0)) })
    }

    @Test func everyMessageComesBackAsItWas() throws {
        for message in Self.messages {
            let (header, back) = try decode(frame(message))
            #expect(back == message)
            #expect(header.session == 0x1122 && header.type == message.type)
        }
    }

    @Test func everyTruncationAndEveryFlippedBitIsRefused() {
        for message in Self.messages {
            let bytes = frame(message)
            for count in 0..<bytes.count {
                #expect(throws: FrameError.self) { try decode(Array(bytes[..<count])) }
            }
            for bit in 0..<bytes.count * 8 {
                var damaged = bytes
                damaged[bit / 8] ^= 1 << UInt8(bit % 8)
                #expect(throws: FrameError.self) { try decode(damaged) }
            }
        }
    }

    @Test func aLengthBeyondTheLimitIsRefusedByTheHeaderAlone() {
        var bytes = frame(.ack(epoch: 1))
        bytes.replaceSubrange(8..<12, with: [0xFF, 0xFF, 0xFF, 0xFF])
        #expect(throws: FrameError.tooLong(.ack, length: .max, limit: FrameHeader.controlLimit)) {
            try decode(bytes)
        }
    }

    /// A number that cannot be counted up would end whoever does.
    @Test(arguments: [.max, 1 << 63, (1 << 63) - 1] as [UInt64])
    func numbersThatCannotBeCountedUpAreRefused(_ number: UInt64) throws {
        var hello = Self.hello
        hello.generation = number
        var patient = Self.hello
        patient.aloneAfter = TimeSpan(nanoseconds: number)
        let messages: [Message] = [
            .hello(hello), .hello(patient),
            .refuse(Refusal(reason: .generationTooLow, generation: number, text: "")),
            .plannedEnd(PlannedEnd(reason: .unprotect, generation: number)),
            .plannedEndAnswer(.dropped, generation: number),
        ]
        for message in messages {
            if number < 1 << 63 {
                #expect(try decode(frame(message)).1 == message)
            } else {
                #expect(throws: FrameError.self) { try decode(frame(message)) }
            }
        }
    }

    @Test func versionsMeetOrAreRefused() {
        #expect(ProtocolVersion.common(oldest: 1, newest: 9) == ProtocolVersion.newest)
        #expect(ProtocolVersion.common(oldest: 1, newest: 1) == 1)
        #expect(ProtocolVersion.common(oldest: 3, newest: 9) == nil)
        #expect(ProtocolVersion.common(oldest: 0, newest: 0) == nil)
        var hello = Self.hello
        hello.oldestVersion = 3
        hello.newestVersion = 4
        #expect(throws: FrameError.noCommonVersion(oldest: 3, newest: 4)) { try decode(frame(.hello(hello))) }
    }

    @Test func aWelcomeByteForByte() {
        let head: [UInt8] = [2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]
        let body = frame(.welcome(Self.offering([.zero, .delta])))[FrameHeader.size...]
        // Version, committed epoch, older image, ceiling, used; the host; the encodings.
        #expect(Array(body) == head + [1, 0, 0, 0, 0x73] + [5, 0, 0, 0])
    }

    /// An older primary gets the welcome that it knows, and then sends plain.
    @Test func encodingsAreOfVersionTwo() throws {
        let old = frame(.welcome(Self.offering(.all, version: 1)))
        let new = frame(.welcome(Self.offering(.all)))
        #expect(old.count == new.count - 4)
        #expect(try decode(old).1 == .welcome(Self.offering([], version: 1)))
        let newer = frame(.welcome(Self.offering(PageEncodings(rawValue: 0x8000_0003))))
        #expect(try decode(newer).1 == .welcome(Self.offering([.zero, .unchanged])))
    }

    @Test func anEncodedFramesHeaderIsThatOfData() throws {
        var bytes = [UInt8](repeating: 0, count: FrameHeader.size)
        let header = FrameHeader(type: .encodedData, length: FrameHeader.dataLimit, session: 7, epoch: 3)
        bytes.withUnsafeMutableBytes {
            header.encode(into: $0, body: UnsafeRawBufferPointer(start: nil, count: 0))
        }
        #expect(bytes[4] == 13)
        #expect(try bytes.withUnsafeBytes { try FrameHeader(decoding: $0) } == header)
        bytes[24] ^= 1
        #expect(throws: FrameError.badChecksum(.encodedData)) {
            try bytes.withUnsafeBytes { try FrameHeader(decoding: $0) }
        }
    }

    /// Random bodies under a right checksum: refused or understood, never a trap.
    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func randomBodiesNeverTrap(_ seed: UInt64) {
        var random = SplitMix(state: seed)
        let types: [FrameType] = [
            .hello, .welcome, .refuse, .epochEnd, .ack, .heartbeat, .plannedEnd, .plannedEndAnswer, .inquiry,
            .claim,
        ]
        var understood = 0
        for round in 0..<2000 {
            let type = types[round % types.count]
            let body = (0..<Int.random(in: 0...300, using: &random)).map { _ in
                UInt8.random(in: 0...(round % 3 == 0 ? 1 : 255), using: &random)
            }
            var bytes = [UInt8](repeating: 0, count: FrameHeader.size) + body
            bytes.withUnsafeMutableBytes { bytes in
                FrameHeader(type: type, length: UInt32(body.count), session: 1, epoch: 1)
                    .encode(into: bytes, body: UnsafeRawBufferPointer(rebasing: bytes[FrameHeader.size...]))
            }
            if (try? decode(bytes)) != nil { understood += 1 }
        }
        #expect(understood < 2000)
    }
}
