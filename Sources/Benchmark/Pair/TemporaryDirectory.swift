import Daemon
import Glibc
import SystemSupport

/// A directory that goes with its owner.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("\(Paths.environment("TMPDIR") ?? "/tmp")/remusd-bench-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError("make a temporary directory") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { Self.remove(path) }

    private static func remove(_ folder: String) {
        for name in SmallFile.names(in: folder) {
            // A folder is no file that could be unlinked (unlink(2)).
            if unlink("\(folder)/\(name)") != 0 { remove("\(folder)/\(name)") }
        }
        rmdir(folder)
    }
}
