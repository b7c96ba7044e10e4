import Checkpoint
import Glibc
import SystemSupport

/// What `remusd arbiter init` puts into the directory of a file arbiter: without it the storage is taken for not mounted,
/// never for empty.
package struct FileMarker: Codable, Equatable, Sendable {
    package static let name = "remusd-arbiter.json"
    static let schema = "remusd.file-arbiter/1"

    private let schema: String
    /// Random: the same for both hosts, or they do not share the storage.
    package let id: String
    private let madeAt: String

    private init(id: String) {
        schema = Self.schema
        self.id = id
        madeAt = Timestamp.now
    }

    private enum CodingKeys: String, CodingKey {
        case schema, id
        case madeAt = "made_at"
    }

    /// The marker in an open directory.
    static func load(in directory: ArbiterDirectory) throws(ArbiterError) -> FileMarker {
        guard let bytes = try directory.read(name) else {
            throw ArbiterError(
                "there is no \(name) in \(directory.path): is the storage mounted? If it is and was never used, 'remusd "
                    + "arbiter init file:\(directory.path)' on one host"
            )
        }
        do {
            let marker = try ControlJSON.decode(FileMarker.self, from: bytes)
            guard marker.schema == schema else {
                throw ArbiterError(
                    "\(directory.path)/\(name) has the schema '\(marker.schema)', not \(schema)"
                )
            }
            return marker
        } catch let error as ArbiterError {
            throw error
        } catch {
            throw ArbiterError("\(directory.path)/\(name) cannot be used: \(error.shortDescription)")
        }
    }

    /// Prepares a directory that exists.
    /// - Returns: the marker, and whether it was made just now.
    package static func prepare(
        _ path: String
    ) throws(ArbiterError) -> (marker: FileMarker, isNew: Bool) {
        let directory = try ArbiterDirectory(path)
        if try directory.read(name) != nil { return (try load(in: directory), false) }
        let bytes: [UInt8]
        do {
            let text = try ControlJSON.pretty(FileMarker(id: HexID.text(.random(in: .min ... .max))))
            bytes = Array((text + "\n").utf8)
        } catch {
            throw ArbiterError("\(error)")
        }
        let isNew = try directory.publish(bytes, as: name, prefix: ".init-")
        try directory.sync()
        return (try load(in: directory), isNew)
    }
}
