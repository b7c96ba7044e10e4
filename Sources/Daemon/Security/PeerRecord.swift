import Checkpoint
import Glibc
import SystemSupport
import Transport

/// What this host keeps of one it is paired with: STATE/peers/HOST.json.
package struct PeerRecord: Codable, Equatable, Sendable {
    package static let currentSchema = "remusd.peer-record/1"

    package var schema: String
    /// Its name, as `uname -n` shows it there and as its hellos say.
    package var host: String
    /// Its key: `sha256:` and 64 hexadecimal digits.
    package var pin: String
    /// The guests that may be replicated between the two hosts, either way; nil for all.
    package var guests: [String]?
    /// Until when, in seconds since 1970; nil for as long as the record is there.
    package var notAfter: Int64?
    /// RFC 3339, UTC; for people.
    package var updatedAt: String

    package init(
        host: HostName,
        pin: KeyPin,
        guests: [GuestName]? = nil,
        notAfter: Int64? = nil,
        updatedAt: String = Timestamp.now
    ) {
        schema = Self.currentSchema
        self.host = host.text
        self.pin = pin.description
        self.guests = guests?.map(\.text).sorted()
        self.notAfter = notAfter
        self.updatedAt = updatedAt
    }

    package enum CodingKeys: String, CodingKey {
        case schema, host, pin, guests
        case notAfter = "not_after"
        case updatedAt = "updated_at"
    }

    /// Whether that guest may be replicated between the two hosts.
    package func allows(_ guest: String) -> Bool { guests?.contains(guest) ?? true }

    /// Whether the pairing has ended, at a time in seconds since 1970.
    package func hasExpired(at now: Int64) -> Bool { notAfter.map { now > $0 } ?? false }
}

/// A peer's record that is there and cannot be used. Its host is then as good as not paired.
package struct PeerRecordError: Error, Equatable, Sendable, CustomStringConvertible {
    package let path: String
    package let reason: String

    package var description: String {
        "the record \(path) cannot be used: \(reason). That host is refused until it is paired again: 'remusd pair', with --guest or --all-guests"
    }
}

/// The hosts that this one is paired with, read anew at each question: what `remusd pair` writes counts at once.
package struct PeerBook: Sendable {
    private let paths: Paths

    package init(_ paths: Paths) { self.paths = paths }

    /// The record of a host, nil if there is none.
    package func record(of host: HostName) throws(PeerRecordError) -> PeerRecord? {
        let path = paths.peerRecord(host)
        guard let bytes = SmallFile.readBytes(path) else {
            var info = stat()
            if lstat(path, &info) != 0, errno == ENOENT { return nil }
            throw PeerRecordError(path: path, reason: "the file is there and cannot be read")
        }
        let record: PeerRecord
        do {
            record = try ControlJSON.decode(PeerRecord.self, from: bytes)
        } catch {
            throw PeerRecordError(path: path, reason: bytes.isEmpty ? "it is empty" : error.shortDescription)
        }
        guard record.schema == PeerRecord.currentSchema, record.host == host.text, KeyPin(record.pin) != nil
        else {
            throw PeerRecordError(path: path, reason: "its schema, host or pin is not what it should be")
        }
        return record
    }

    /// All records that can be used, and what is wrong with the others.
    package func records() -> (records: [PeerRecord], troubles: [PeerRecordError]) {
        var records: [PeerRecord] = []
        var troubles: [PeerRecordError] = []
        for host in paths.pairedHosts() {
            do throws(PeerRecordError) {
                if let record = try record(of: host) { records.append(record) }
            } catch {
                troubles.append(error)
            }
        }
        return (records, troubles)
    }

    /// Writes a record durably.
    package func store(_ record: PeerRecord, _ host: HostName) throws {
        try SmallFile.makeDirectories(paths.peers)
        let text = try ControlJSON.pretty(record) + "\n"
        try SmallFile.replace(paths.peerRecord(host), with: Array(text.utf8))
    }

    /// Whether there is a record of a host, usable or not.
    package func hasFile(of host: HostName) -> Bool {
        var info = stat()
        return lstat(paths.peerRecord(host), &info) == 0
    }

    /// Forgets a host durably.
    package func forget(_ host: HostName) throws(SystemError) {
        try SmallFile.remove(paths.peerRecord(host))
    }

    /// What is to be thought of a key that a peer shows.
    /// - Parameter guest: the one it is about, if that is known already.
    package func verdict(
        on pin: KeyPin,
        guest: String? = nil,
        at now: Int64 = Int64(Clock.wall / 1_000_000_000)
    ) -> PeerVerdict {
        guard let record = records().records.first(where: { KeyPin($0.pin) == pin }) else { return .unknown }
        if record.hasExpired(at: now) { return .expired(host: record.host) }
        if let guest, !record.allows(guest) {
            return .notAllowed(
                host: record.host,
                reason: "guest \(guest) is not among those that 'remusd pair list' shows for it"
            )
        }
        return .known(host: record.host)
    }

    /// Why what a connection begins with is not taken from the host whose key was proved; nil if it is.
    /// - Parameters:
    ///   - guest: what it is about.
    ///   - said: the host that it says it comes from.
    package func objection(to guest: String, saidBy said: String, from host: String) -> String? {
        guard said == host else { return "the hello says host \(said), and the key is that of \(host)" }
        guard let name = try? HostName(host), let record = try? record(of: name) else {
            return "host \(host) is no longer paired with this one"
        }
        guard record.allows(guest) else {
            return
                "host \(host) may not replicate guest \(guest) here: 'remusd pair list' on the standby shows those "
                + "it may"
        }
        return nil
    }
}
