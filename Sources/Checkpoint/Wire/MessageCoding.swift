import XenStream

extension Message {
    /// The frame type that carries this message.
    package var type: FrameType {
        switch self {
        case .hello: .hello
        case .welcome: .welcome
        case .refuse: .refuse
        case .epochEnd: .epochEnd
        case .ack: .ack
        case .heartbeat: .heartbeat
        case .heartbeatEcho: .heartbeatEcho
        case .plannedEnd: .plannedEnd
        case .plannedEndAnswer: .plannedEndAnswer
        case .inquiry: .inquiry
        case .claim: .claim
        }
    }

    private var epoch: UInt64 {
        switch self {
        case .epochEnd(let epoch, _), .ack(let epoch): epoch
        default: 0
        }
    }

    /// Hands the whole frame's bytes to `body`. The messages of the steady state (ack, heartbeats, epoch end) are
    /// put together on the stack and allocate nothing.
    package func withFrame<R>(session: UInt64, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        switch self {
        case .epochEnd(_, let end):
            return withSmallFrame(session, end.length, UInt64(end.checksum), body)
        case .ack:
            return withSmallFrame(session, 0, 0, body)
        case .heartbeat(let beat), .heartbeatEcho(let beat):
            return withSmallFrame(session, beat.number, beat.sentAt.nanoseconds, body)
        case .plannedEnd(let end):
            return withSmallFrame(session, end.generation, UInt64(end.reason.rawValue), body)
        case .plannedEndAnswer(let answer, let generation):
            return withSmallFrame(session, generation, UInt64(answer.rawValue), body)
        case .hello(let hello):
            return withLargeFrame(session, hello.encoded(), body)
        case .welcome(let welcome):
            return withLargeFrame(session, welcome.encoded(), body)
        case .refuse(let refusal):
            return withLargeFrame(session, refusal.encoded(), body)
        case .inquiry(let inquiry):
            return withLargeFrame(session, inquiry.encoded(), body)
        case .claim(let claim):
            return withLargeFrame(session, claim.encoded(), body)
        }
    }

    /// Frames whose body is two 64-bit words.
    private func withSmallFrame<R>(
        _ session: UInt64,
        _ first: UInt64,
        _ second: UInt64,
        _ body: (UnsafeRawBufferPointer) -> R
    ) -> R {
        withUnsafeTemporaryAllocation(byteCount: FrameHeader.size + 16, alignment: 8) { frame in
            frame.storeLE(first, at: FrameHeader.size)
            frame.storeLE(second, at: FrameHeader.size + 8)
            FrameHeader(type: type, length: 16, session: session, epoch: epoch)
                .encode(into: frame, body: UnsafeRawBufferPointer(rebasing: frame[FrameHeader.size...]))
            return body(UnsafeRawBufferPointer(frame))
        }
    }

    private func withLargeFrame<R>(
        _ session: UInt64,
        _ fields: [UInt8],
        _ body: (UnsafeRawBufferPointer) -> R
    ) -> R {
        var frame = [UInt8](repeating: 0, count: FrameHeader.size) + fields
        return frame.withUnsafeMutableBytes { bytes in
            FrameHeader(type: type, length: UInt32(fields.count), session: session, epoch: epoch)
                .encode(into: bytes, body: UnsafeRawBufferPointer(rebasing: bytes[FrameHeader.size...]))
            return body(UnsafeRawBufferPointer(bytes))
        }
    }

    /// Decodes the body that follows `header` (not a data frame).
    package init(_ header: FrameHeader, body: UnsafeRawBufferPointer) throws(FrameError) {
        var fields = FieldReader(body, of: header.type)
        switch header.type {
        case .data, .encodedData: throw .badBody(header.type, "data is not a message")
        case .hello: self = .hello(try Hello(&fields))
        case .welcome: self = .welcome(try Welcome(&fields))
        case .refuse: self = .refuse(try Refusal(&fields))
        case .epochEnd:
            let length = try fields.take(UInt64.self)
            guard let checksum = UInt32(exactly: try fields.take(UInt64.self)) else {
                throw .badBody(.epochEnd, "a checksum of more than 32 bits")
            }
            self = .epochEnd(epoch: header.epoch, EpochEnd(length: length, checksum: checksum))
        case .ack:
            guard try fields.take(UInt64.self) == 0, try fields.take(UInt64.self) == 0 else {
                throw .badBody(.ack, "reserved words are not zero")
            }
            self = .ack(epoch: header.epoch)
        case .heartbeat: self = .heartbeat(try Heartbeat(&fields))
        case .heartbeatEcho: self = .heartbeatEcho(try Heartbeat(&fields))
        case .plannedEnd:
            let generation = try fields.takeNumber()
            let raw = try fields.take(UInt64.self)
            guard let reason = UInt8(exactly: raw).flatMap(PlannedEndReason.init(rawValue:)) else {
                throw .badBody(.plannedEnd, "unknown reason \(raw)")
            }
            self = .plannedEnd(PlannedEnd(reason: reason, generation: generation))
        case .plannedEndAnswer:
            let generation = try fields.takeNumber()
            let raw = try fields.take(UInt64.self)
            guard let answer = UInt8(exactly: raw).flatMap(PlannedEndAnswer.init(rawValue:)) else {
                throw .badBody(.plannedEndAnswer, "unknown answer \(raw)")
            }
            self = .plannedEndAnswer(answer, generation: generation)
        case .inquiry: self = .inquiry(try Inquiry(&fields))
        case .claim: self = .claim(try HostClaim(&fields))
        }
        try fields.finish()
    }
}

extension Heartbeat {
    init(_ fields: inout FieldReader) throws(FrameError) {
        self.init(number: try fields.take(), sentAt: Instant(nanoseconds: try fields.take()))
    }
}

extension ProcessIdentity {
    func encode(into fields: inout FieldWriter) {
        fields.put(pid)
        fields.put(startTime)
    }

    init(_ fields: inout FieldReader) throws(FrameError) {
        self.init(pid: try fields.take(), startTime: try fields.take())
    }
}

extension GuestDescription {
    /// Largest guest the protocol describes: 16 TiB, which 32-bit pfns reach.
    package static let maximumPageCount = 1 << 32

    func encode(into fields: inout FieldWriter) {
        fields.put(name)
        fields.put(uuid.high)
        fields.put(uuid.low)
        fields.put(kind.rawValue)
        fields.put(UInt64(pageCount))
        fields.put(address)
        fields.put(config)
    }

    init(_ fields: inout FieldReader) throws(FrameError) {
        let name = try fields.takeText(limit: 64)
        let uuid = GuestUUID(high: try fields.take(), low: try fields.take())
        let kind = try fields.takeCase(GuestKind.self)
        let pages = try fields.take(UInt64.self)
        guard pages > 0, pages <= UInt64(Self.maximumPageCount) else {
            throw .badBody(.hello, "a guest of \(pages) pages")
        }
        self.init(
            name: name,
            uuid: uuid,
            kind: kind,
            pageCount: Int(pages),
            address: try fields.takeText(limit: 256),
            config: try fields.takeBlob()
        )
    }
}

extension Hello {
    /// In bytes of UTF-8.
    package static let longestArbiterName = 1024

    func encoded() -> [UInt8] {
        var fields = FieldWriter()
        fields.put(oldestVersion)
        fields.put(newestVersion)
        guest.encode(into: &fields)
        fields.put(generation)
        fields.put(session)
        fields.put(ackedEpoch ?? .max)
        fields.put(
            UInt8(imageStillValid ? 1 : 0) | UInt8(unacknowledged ? 2 : 0)
                | UInt8(hasUnreplicatedDisk ? 4 : 0)
        )
        fields.put(populatedPages)
        fields.put(epochCapacity)
        fields.put(aloneAfter.nanoseconds)
        fields.put(bootID)
        fields.put(host)
        protectProcess.encode(into: &fields)
        guestProcess.encode(into: &fields)
        fields.put(arbiter ?? "")
        return fields.bytes
    }

    init(_ fields: inout FieldReader) throws(FrameError) {
        let oldest = try fields.take(UInt16.self)
        let newest = try fields.take(UInt16.self)
        guard ProtocolVersion.common(oldest: oldest, newest: newest) != nil else {
            throw .noCommonVersion(oldest: oldest, newest: newest)
        }
        let guest = try GuestDescription(&fields)
        let generation = try fields.takeNumber()
        let session = try fields.take(UInt64.self)
        let acked = try fields.take(UInt64.self)
        // Output that went out unasked is not held: never both.
        let flags = try fields.take(UInt8.self)
        guard flags <= 7, flags & 3 != 3, session != 0 else {
            throw .badBody(.hello, "a flag or session out of range")
        }
        self.init(
            guest: guest,
            generation: generation,
            session: session,
            ackedEpoch: acked == .max ? nil : acked,
            imageStillValid: flags & 1 != 0,
            populatedPages: try fields.take(),
            epochCapacity: try fields.take(),
            aloneAfter: TimeSpan(nanoseconds: try fields.takeNumber()),
            bootID: try fields.takeText(limit: 64),
            host: try fields.takeText(limit: 256),
            protectProcess: try ProcessIdentity(&fields),
            guestProcess: try ProcessIdentity(&fields)
        )
        oldestVersion = oldest
        newestVersion = newest
        unacknowledged = flags & 2 != 0
        hasUnreplicatedDisk = flags & 4 != 0
        let name = try fields.takeText(limit: Self.longestArbiterName)
        arbiter = name.isEmpty ? nil : name
    }
}

extension Welcome {
    func encoded() -> [UInt8] {
        var fields = FieldWriter()
        fields.put(version)
        fields.put(committedEpoch ?? .max)
        fields.put(UInt8(keepsOlderImage ? 1 : 0))
        fields.put(memoryCeiling)
        fields.put(memoryUsed)
        fields.put(host)
        if version >= ProtocolVersion.withEncodings { fields.put(encodings.rawValue) }
        return fields.bytes
    }

    init(_ fields: inout FieldReader) throws(FrameError) {
        let version = try fields.take(UInt16.self)
        let committed = try fields.take(UInt64.self)
        let keeps = try fields.take(UInt8.self)
        guard keeps <= 1 else { throw .badBody(.welcome, "a flag out of range") }
        self.init(
            version: version,
            committedEpoch: committed == .max ? nil : committed,
            keepsOlderImage: keeps == 1,
            memoryCeiling: try fields.take(),
            memoryUsed: try fields.take(),
            host: try fields.takeText(limit: 256)
        )
        if version >= ProtocolVersion.withEncodings {
            // What a newer standby takes besides is not used.
            encodings = PageEncodings(rawValue: try fields.take()).intersection(.all)
        }
    }
}

extension Refusal {
    func encoded() -> [UInt8] {
        var fields = FieldWriter()
        fields.put(reason.rawValue)
        fields.put(generation)
        fields.put(text)
        return fields.bytes
    }

    init(_ fields: inout FieldReader) throws(FrameError) {
        self.init(
            reason: try fields.takeCase(RefusalReason.self),
            generation: try fields.takeNumber(),
            text: try fields.takeText()
        )
    }
}

extension Inquiry {
    func encoded() -> [UInt8] {
        var fields = FieldWriter()
        fields.put(name)
        fields.put(uuid.high)
        fields.put(uuid.low)
        return fields.bytes
    }

    init(_ fields: inout FieldReader) throws(FrameError) {
        let name = try fields.takeText(limit: 64)
        self.init(name: name, uuid: GuestUUID(high: try fields.take(), low: try fields.take()))
    }
}

extension HostClaim {
    func encoded() -> [UInt8] {
        var fields = FieldWriter()
        for number in [primary, outdatedBy, standby] { fields.put(number) }
        fields.put(holding.rawValue)
        return fields.bytes
    }

    init(_ fields: inout FieldReader) throws(FrameError) {
        self.init(
            primary: try fields.takeNumber(),
            outdatedBy: try fields.takeNumber(),
            standby: try fields.takeNumber(),
            holding: try fields.takeCase(Holding.self)
        )
    }
}
