import Glibc
import SystemSupport

/// What a side of a pair must not forget, one small JSON file a guest.
package protocol DurableRecord: Codable, Sendable {
    /// `remusd.primary-record/1`
    static var currentSchema: String { get }
    /// The schema the file says.
    var schema: String { get }
    /// The guest's name.
    var guest: String { get }
}

/// A record that is there and cannot be used. Never treated as absent: a forgotten generation is a split brain.
package struct RecordError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The record's file.
    package let path: String
    /// Why it cannot be used.
    package let reason: String

    package var description: String {
        "the record \(path) cannot be used: \(reason). It says which generation of the guest may run, so remusd does "
            + "not go on without it: bring it back from a backup, or, once you know that no other copy of the guest "
            + "runs or will run, move it away"
    }
}

extension DurableRecord {
    /// Reads a record.
    /// - Returns: nil if there is no such file, and only then.
    /// - Throws: `RecordError` for a file that cannot be read, is not JSON, is cut short, or has another schema.
    package static func load(from path: String) throws(RecordError) -> Self? {
        guard let bytes = SmallFile.readBytes(path) else {
            // Only the kernel's word that nothing is there makes it absent; a directory or a lack of rights does not.
            var info = stat()
            if lstat(path, &info) != 0, errno == ENOENT { return nil }
            throw RecordError(path: path, reason: "the file is there and cannot be read")
        }
        let record: Self
        do {
            record = try ControlJSON.decode(Self.self, from: bytes)
        } catch {
            throw RecordError(path: path, reason: bytes.isEmpty ? "it is empty" : error.shortDescription)
        }
        guard record.schema == currentSchema else {
            throw RecordError(
                path: path,
                reason: "its schema is \(record.schema), this remusd knows \(currentSchema)"
            )
        }
        return record
    }

    /// Writes the record durably: after a crash at any moment the file holds either the old one or this.
    package func store(at path: String) throws(SystemError) {
        let text: String
        do {
            text = try ControlJSON.pretty(self)
        } catch {
            throw SystemError("encode the record \(path)", code: EINVAL)
        }
        try SmallFile.replace(path, with: Array((text + "\n").utf8))
    }
}
