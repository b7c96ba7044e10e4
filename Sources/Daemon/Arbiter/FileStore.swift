import Checkpoint
import Glibc
import SystemSupport

/// Records on storage that both hosts have mounted: `DIR/UUID/1`, `2`, `3` and so on, each written once, whole, under a name that
/// nobody had; the highest counts. Who wants to swap record n makes n + 1: only one can, whatever it says. Nothing is
/// ever overwritten, no lock is taken, and nobody needs a clock.
struct FileStore: RecordStore {
    /// The highest number that is there.
    typealias Version = UInt64

    private let path: String
    private let before: @Sendable (ArbiterDirectory.Step) throws(ArbiterError) -> Void

    /// - Parameter before: for tests; `ArbiterDirectory`.
    init(
        path: String,
        before: @escaping @Sendable (ArbiterDirectory.Step) throws(ArbiterError) -> Void = { _ in }
    ) {
        self.path = path
        self.before = before
    }

    var name: String { "file:\(path)" }

    func read(_ guest: GuestUUID, until deadline: UInt64) throws(ArbiterError) -> StoredRecord<Version> {
        let root = try prepared()
        try root.refresh()
        guard let directory = try root.directory(guest.description) else {
            return StoredRecord(record: nil, version: 0)
        }
        try directory.refresh()
        guard let highest = try Self.numbers(in: directory).max() else {
            return StoredRecord(record: nil, version: 0)
        }
        let place = "\(directory.path)/\(highest)"
        guard let bytes = try directory.read("\(highest)") else {
            throw ArbiterError("\(place) was there and is gone")
        }
        return StoredRecord(
            record: try GrantDocument.decode(bytes, of: guest, in: place),
            version: highest
        )
    }

    func swap(
        _ guest: GuestUUID,
        from expected: StoredRecord<Version>,
        to record: GrantRecord,
        until deadline: UInt64
    ) throws(ArbiterError) -> Bool {
        let bytes = try GrantDocument.encode(record, of: guest)
        guard expected.version < .max else { throw ArbiterError("no number is left for another record") }
        let root = try prepared()
        let directory = try root.make(guest.description)
        try Self.removeLeft(by: record, in: directory)
        guard Clock.monotonic < deadline else { throw ArbiterError("the time is over") }
        let isDone = try directory.publish(bytes, as: "\(expected.version + 1)", prefix: Self.prefix(record))
        if isDone { try directory.sync() }
        return isDone
    }

    /// Whoever made the record may have died before its name was on disk.
    func settle(
        _ guest: GuestUUID,
        on record: GrantRecord,
        until deadline: UInt64
    ) throws(ArbiterError) {
        let root = try prepared()
        try root.sync()
        guard let directory = try root.directory(guest.description) else { return }
        try Self.removeLeft(by: record, in: directory)
        try directory.sync()
    }

    func identity(until deadline: UInt64) throws(ArbiterError) -> String {
        let root = try ArbiterDirectory(path, before: before)
        return "storage \(try FileMarker.load(in: root).id)"
    }

    func removeProbe(_ guest: GuestUUID, until deadline: UInt64) throws(ArbiterError) {
        guard try read(guest, until: deadline).record?.owner == ArbiterProbe.owner else { return }
        let root = try prepared()
        guard let directory = try root.directory(guest.description) else { return }
        for number in try Self.numbers(in: directory) { directory.remove("\(number)") }
        root.removeDirectory(guest.description)
    }

    /// The directory, if it is the one that was prepared.
    private func prepared() throws(ArbiterError) -> ArbiterDirectory {
        let root = try ArbiterDirectory(path, before: before)
        _ = try FileMarker.load(in: root)
        return root
    }

    /// How the private file of somebody who asks for `record` begins.
    private static func prefix(_ record: GrantRecord) -> String { ".asking-\(HexID.text(record.id))-" }

    /// Removes what an earlier try left behind. One that hangs still cannot link its file then.
    private static func removeLeft(
        by record: GrantRecord,
        in directory: ArbiterDirectory
    ) throws(ArbiterError) {
        for name in try directory.names() where name.hasPrefix(prefix(record)) { directory.remove(name) }
    }

    /// The numbers of the records; what has another kind of name is none.
    private static func numbers(in directory: ArbiterDirectory) throws(ArbiterError) -> [UInt64] {
        try directory.names().compactMap { name in
            guard let number = WholeNumber.parse(name[...]), number > 0, String(number) == name else {
                return nil
            }
            return number
        }
    }
}
