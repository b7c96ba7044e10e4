import Checkpoint
import Glibc
import SystemSupport

/// The standby's own xl configuration file of a guest, which decides what the guest may use here.
package struct GuestTemplate: Equatable, Sendable {
    /// Larger files are no configuration.
    private static let sizeLimit = 1 << 20

    /// Where it lies.
    package let path: String
    /// What it says.
    let text: [UInt8]

    /// Reads the template of a guest.
    /// - Parameters:
    ///   - directory: where the standby's templates lie, each as `NAME.cfg`.
    /// - Throws: if there is none, or it is another guest's.
    package init(of guest: String, in directory: String) throws(GuestError) {
        path = "\(directory)/\(guest).cfg"
        guard let text = SmallFile.readBytes(path) else {
            let reason = String(cString: strerror(errno))
            throw GuestError(
                guest: guest,
                reason:
                    "its template \(path) cannot be read (\(reason)): put the guest's xl configuration there"
            )
        }
        guard text.count <= Self.sizeLimit, !text.contains(0) else {
            throw GuestError(guest: guest, reason: "\(path) is not an xl configuration")
        }
        self.text = text
        if let name = Self.value(of: "name", in: String(decoding: text, as: UTF8.self)), name != guest {
            throw GuestError(guest: guest, reason: "\(path) is the template of another guest, \(name)")
        }
    }

    /// The configuration to start the guest with: the template, and what makes it this very guest. In an xl configuration
    /// the last of several settings of one name counts (xl.cfg(5)).
    func effective(name: String, uuid: GuestUUID) -> [UInt8] {
        text
            + Array(
                "\n# What remusd adds: the guest that is activated.\nname = \"\(name)\"\nuuid = \"\(uuid)\"\n"
                    .utf8
            )
    }

    /// The value of the last simple setting `key = "value"`.
    private static func value(of key: String, in text: String) -> String? {
        var found: String?
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1).map { $0.filter { !" \t\r".contains($0) } }
            guard parts.count == 2, parts[0] == key, let quote = parts[1].first, "\"'".contains(quote) else {
                continue
            }
            found = String(parts[1].dropFirst().prefix { $0 != quote })
        }
        return found
    }
}
