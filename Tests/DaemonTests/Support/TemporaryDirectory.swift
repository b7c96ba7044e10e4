import Glibc
import SystemSupport

/// A directory for one test, short enough for socket paths, removed with what is in it.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/remusd.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError("make a temporary directory") }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit { Self.removeAll(path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func write(_ text: String, to name: String) throws {
        let raw = open(file(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw SystemError("write \(name)") }
        let file = Descriptor(owning: raw)
        let bytes = Array(text.utf8)
        guard Glibc.write(file.raw, bytes, bytes.count) == bytes.count else {
            throw SystemError("write \(name)")
        }
    }

    private static func removeAll(_ path: String) {
        if let handle = opendir(path) {
            while let entry = readdir(handle) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != ".", name != ".." { removeAll("\(path)/\(name)") }
            }
            closedir(handle)
            rmdir(path)
        } else {
            unlink(path)
        }
    }
}
