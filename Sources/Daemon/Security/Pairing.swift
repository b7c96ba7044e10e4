import Checkpoint
import Glibc
import Synchronization
import SystemSupport
import Transport

/// A pairing that cannot be.
package struct PairingError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String
    /// The other side was waited for in vain.
    package let isTimeout: Bool

    init(_ description: String, isTimeout: Bool = false) {
        self.description = description
        self.isTimeout = isTimeout
    }
}

/// Two hosts get to know each other's keys, over a connection that nobody vouches for: TLS in which each side takes
/// whatever key the other proves to hold, then a commitment, two nonces, and a code that two people compare. Nothing is
/// kept before both have said yes (docs/security.md).
package final class Pairing {
    /// One message: its length, u32 little endian, then JSON.
    private struct Note: Codable {
        var commitment: String?
        var host: String?
        var nonce: String?
        var accepted: Bool?
    }

    private static let noteLimit = 2048
    /// For the handshake and the exchange. Nanoseconds.
    private static let exchangeLimit: UInt64 = 5_000_000_000

    /// The other side, as it says; true once both people have said yes.
    package let host: HostName
    package let pin: KeyPin
    /// What the other side must show too.
    package let code: String
    private let channel: any ByteChannel

    /// Exchanges keys over a socket that is connected.
    /// - Parameters:
    ///   - ownHost: this side's name.
    ///   - connecting: this side began.
    package init(over socket: Descriptor, key: HostKey, ownHost: HostName, connecting: Bool) throws {
        let shown = Mutex(KeyPin?.none)
        let context = try TLSContext(key: key) { pin in
            shown.withLock { $0 = pin }
            return .known(host: "")
        }
        let deadline = Clock.monotonic + Self.exchangeLimit
        channel = try LinkSecurity.tls(context).channel(over: socket, accepting: !connecting)
        while try !channel.handshake() { try Self.wait(channel, writable: channel.owesOutput, deadline) }
        guard let pin = shown.withLock({ $0 }) else { throw PairingError("the other side shows no key") }
        guard pin != key.pin else { throw PairingError("the other side has this host's own key") }
        self.pin = pin
        var generator = SystemRandomNumberGenerator()
        let nonce = (0..<PairingPart.nonceSize).map { _ in UInt8.random(in: .min ... .max, using: &generator)
        }
        let own = PairingPart(pin: key.pin, host: ownHost, nonce: nonce)
        let opened = Note(host: ownHost.text, nonce: Hex.text(nonce))
        let other: PairingPart
        if connecting {
            // Bound by this before it sees the other side's nonce.
            try Self.send(Note(commitment: Hex.text(try own.commitment())), channel, deadline)
            other = try Self.part(try Self.receive(channel, deadline), of: pin)
            try Self.send(opened, channel, deadline)
        } else {
            let commitment = try Self.receive(channel, deadline).commitment
            try Self.send(opened, channel, deadline)
            other = try Self.part(try Self.receive(channel, deadline), of: pin)
            guard commitment == Hex.text(try other.commitment()) else {
                throw PairingError("the other side did not keep to what it committed itself to: try again")
            }
        }
        host = other.host
        code = try PairingPart.code(
            connecting: connecting ? own : other,
            listening: connecting ? other : own
        )
    }

    /// Tells the other side what the person here says of the code, and hears what the one there says.
    /// - Parameter patience: nanoseconds to wait for that.
    /// - Returns: whether both said yes.
    package func settle(accepted: Bool, patience: UInt64 = 300_000_000_000) throws -> Bool {
        try Self.send(Note(accepted: accepted), channel, Clock.monotonic + Self.exchangeLimit)
        guard accepted else { return false }
        return try Self.receive(channel, Clock.monotonic + patience).accepted == true
    }

    private static func part(_ note: Note, of pin: KeyPin) throws -> PairingPart {
        guard let host = note.host, let nonce = note.nonce.flatMap({ Hex.bytes($0) }),
            nonce.count == PairingPart.nonceSize
        else { throw PairingError("the other side is no 'remusd pair' of this kind") }
        return PairingPart(pin: pin, host: try HostName(host), nonce: nonce)
    }

    // MARK: Notes

    private static func send(_ note: Note, _ channel: any ByteChannel, _ deadline: UInt64) throws {
        let text = try ControlJSON.encode(note)
        let bytes = withUnsafeBytes(of: UInt32(text.count).littleEndian) { Array($0) } + text
        var done = 0
        while done < bytes.count {
            let sent = try bytes[done...].withUnsafeBytes { rest throws(ConnectionError) in
                try channel.sendNow(rest)
            }
            if let sent { done += sent } else { try wait(channel, writable: true, deadline) }
        }
    }

    private static func receive(_ channel: any ByteChannel, _ deadline: UInt64) throws -> Note {
        let head = try read(4, channel, deadline)
        let count = head.reversed().reduce(0) { $0 << 8 | Int($1) }
        guard count <= noteLimit else { throw PairingError("the other side is no 'remusd pair'") }
        return try ControlJSON.decode(Note.self, from: try read(count, channel, deadline))
    }

    private static func read(_ count: Int, _ channel: any ByteChannel, _ deadline: UInt64) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = try bytes.withUnsafeMutableBytes { all throws(ConnectionError) in
                try channel.receiveNow(into: UnsafeMutableRawBufferPointer(rebasing: all[done...]))
            }
            if let got { done += got } else { try wait(channel, writable: channel.owesOutput, deadline) }
        }
        return bytes
    }

    private static func wait(_ channel: any ByteChannel, writable: Bool, _ deadline: UInt64) throws {
        let now = Clock.monotonic
        guard now < deadline else { throw PairingError("the other side takes too long", isTimeout: true) }
        let left = Int32(min(1_000_000, (deadline - now + 999_999) / 1_000_000))
        _ = Poll.wait(channel.socket.raw, readable: !writable, writable: writable, milliseconds: left)
    }
}

extension PeerBook {
    /// The record of a host that is to be paired again, nil if there is none. One that cannot be used is replaced.
    /// - Throws: `PairingError` where that would lift limits that nobody can read any more.
    package func known(_ host: HostName, limits: PairingLimits) throws(PairingError) -> PeerRecord? {
        do throws(PeerRecordError) {
            return try record(of: host)
        } catch {
            guard limits.guests != nil || limits.allGuests else {
                throw PairingError(
                    "the record \(error.path) cannot be used (\(error.reason)), and what \(host) may replicate was in it: "
                        + "say --guest or --all-guests"
                )
            }
            return nil
        }
    }

    /// Keeps a host whose pin somebody vouches for; limits that are not given stay as they were. A key is of one host: another
    /// that was known by it is the same under its old name, and forgotten.
    /// - Returns: the record that was there, the one that is now, and the hosts that were forgotten.
    @discardableResult
    package func remember(
        _ host: HostName,
        _ pin: KeyPin,
        limits: PairingLimits
    ) throws -> (old: PeerRecord?, new: PeerRecord, forgotten: [HostName]) {
        let old = try known(host, limits: limits)
        let others = records().records.filter { $0.host != host.text && KeyPin($0.pin) == pin }
        let before = old ?? others.first
        var new = PeerRecord(host: host, pin: pin)
        new.guests = limits.allGuests ? nil : limits.guests.map { $0.map(\.text).sorted() } ?? before?.guests
        new.notAfter = limits.forever ? nil : limits.notAfter ?? before?.notAfter
        var same = old
        same?.updatedAt = new.updatedAt
        if same != new { try store(new, host) }
        let forgotten = try others.map { try HostName($0.host) }
        for other in forgotten { try forget(other) }
        return (old, new, forgotten)
    }
}

/// What a paired host is allowed.
package struct PairingLimits: Equatable, Sendable {
    /// Nil: as it was; at first, all.
    package var guests: [GuestName]?
    package var allGuests = false
    /// Seconds since 1970. Nil: as it was; at first, for good.
    package var notAfter: Int64?
    package var forever = false

    package init() {}
}
