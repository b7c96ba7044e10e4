import Glibc
import SystemSupport

/// A path that cannot be used: says why, and what to do.
package struct PathError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The path in question.
    package let path: String
    /// Why not, and what to do.
    package let reason: String

    package var description: String { "cannot use \(path): \(reason)" }
}

/// Where sockets, logs and durable records lie. Every path is keyed by role and guest, so that a primary and a
/// standby may share both directories.
package struct Paths: Equatable, Sendable {
    /// Sockets, control pipes and logs: gone after a reboot. `/run/remusd` unless REMUSD_RUNTIME_DIR says otherwise.
    package let runtime: String
    /// Durable records. `/var/lib/remusd` unless REMUSD_STATE_DIR says otherwise.
    package let state: String

    package init(runtime: String, state: String) {
        self.runtime = runtime
        self.state = state
    }

    /// The directories of this process, from `environment` (default: its own).
    /// - Throws: `PathError` for one that is not absolute or too long to hold sockets.
    package init(environment: (String) -> String? = Self.environment) throws(PathError) {
        runtime = try Self.directory("REMUSD_RUNTIME_DIR", environment, default: "/run/remusd")
        state = try Self.directory("REMUSD_STATE_DIR", environment, default: "/var/lib/remusd")
        // The longest socket of a one-letter guest: whoever gets past this can at least start a standby.
        _ = try Self.checkSocket(runtime + "/primary-x.sock")
    }

    /// Whether what is in the runtime directory can be seen. One that is missing is empty.
    /// - Throws: `PathError` for something else than a directory, and for one that this user may not look into: nobody
    ///   there, as far as he could tell, would be a wrong answer.
    package func check() throws(PathError) {
        // With the slash at its end a name is a directory or an error.
        guard faccessat(AT_FDCWD, runtime + "/", R_OK | X_OK, AT_EACCESS) != 0 else { return }
        let code = errno
        if code == ENOENT { return }
        throw PathError(
            path: runtime,
            reason: "\(String(cString: strerror(code))); set REMUSD_RUNTIME_DIR, or become its owner"
        )
    }

    /// The value of an environment variable of this process.
    package static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    /// Makes both directories where missing, mode 0700.
    package func create() throws(SystemError) {
        try SmallFile.makeDirectories(runtime)
        try SmallFile.makeDirectories(state)
    }

    // ---- The runtime directory.

    /// The control socket of `remusd protect` for one guest.
    package func primarySocket(_ guest: GuestName) throws(PathError) -> String {
        try socket("primary-\(guest).sock")
    }
    /// The control socket of `remusd standby`.
    package func standbySocket() throws(PathError) -> String { try socket("standby.sock") }
    /// The control socket of an embedded guest (`remusd guest`).
    package func guestSocket(_ guest: GuestName) throws(PathError) -> String {
        try socket("guest-\(guest).sock")
    }
    /// The socket by which `remusd protect` gets hold of an embedded guest's memory and plug.
    package func guestControl(_ guest: GuestName) throws(PathError) -> String {
        try socket("guest-\(guest).ctl")
    }
    /// The socket of the standby's guardian.
    package func guardianSocket() throws(PathError) -> String { try socket("guardian.sock") }
    /// What a detached `remusd protect` logs.
    package func primaryLog(_ guest: GuestName) -> String { "\(runtime)/primary-\(guest).log" }

    /// What the guardian of a Xen guest's `remusd protect` logs.
    package func guardianLog(_ guest: GuestName) -> String { "\(runtime)/guardian-\(guest).log" }

    // ---- The state directory.

    /// The primary's durable record of one guest.
    package func primaryRecord(_ guest: GuestName) -> String { "\(state)/primary-\(guest).json" }
    /// The standby's durable record of one guest.
    package func standbyRecord(_ guest: GuestName) -> String { "\(state)/standby-\(guest).json" }

    /// Which events a guest's hooks were told of.
    package func hookJournal(_ role: GuestRole, _ guest: GuestName) -> String {
        "\(state)/hooks-\(role.rawValue)-\(guest).json"
    }
    /// What people vouched for.
    package var audit: String { "\(state)/audit.jsonl" }
    /// This host's own key and certificate: secret.
    package var hostKey: String { "\(state)/host-key.pem" }
    /// The records of the hosts that this one is paired with.
    package var peers: String { "\(state)/peers" }
    /// The record of one of them.
    package func peerRecord(_ host: HostName) -> String { "\(peers)/\(host).json" }

    // ---- What is there.

    /// The guests that have a `primary-NAME.sock`, sorted.
    package func guestsWithPrimarySocket() -> [GuestName] {
        names(in: runtime, prefix: "primary-", suffix: ".sock")
    }
    /// The guests that have a `guest-NAME.sock`, sorted.
    package func guestsWithGuestSocket() -> [GuestName] {
        names(in: runtime, prefix: "guest-", suffix: ".sock")
    }
    /// The guests that have a warm helper, sorted.
    package func guestsWithWarmSocket() -> [GuestName] {
        names(in: runtime, prefix: "warm-", suffix: ".sock")
    }
    /// The guests of which the primary has a record, sorted.
    package func guestsWithPrimaryRecord() -> [GuestName] {
        names(in: state, prefix: "primary-", suffix: ".json")
    }
    /// The guests of which the standby has a record, sorted.
    package func guestsWithStandbyRecord() -> [GuestName] {
        names(in: state, prefix: "standby-", suffix: ".json")
    }

    /// The hosts of which there is a record, sorted.
    package func pairedHosts() -> [HostName] {
        SmallFile.names(in: peers).compactMap { file in
            file.hasSuffix(".json") ? try? HostName(String(file.dropLast(5))) : nil
        }.sorted()
    }

    private func names(in directory: String, prefix: String, suffix: String) -> [GuestName] {
        SmallFile.names(in: directory).compactMap { file in
            guard file.hasPrefix(prefix), file.hasSuffix(suffix), file.count > prefix.count + suffix.count
            else { return nil }
            return try? GuestName(String(file.dropFirst(prefix.count).dropLast(suffix.count)))
        }.sorted()
    }

    // ---- Checks.

    /// Bytes in a unix socket's path (unix(7), sun_path without its NUL).
    package static let socketPathLimit = 107

    private func socket(_ file: String) throws(PathError) -> String {
        try Self.checkSocket("\(runtime)/\(file)")
    }

    private static func checkSocket(_ path: String) throws(PathError) -> String {
        let count = path.utf8.count
        guard count <= socketPathLimit else {
            throw PathError(
                path: path,
                reason:
                    "a unix socket's path has at most \(socketPathLimit) bytes and this one has \(count); "
                    + "set REMUSD_RUNTIME_DIR to a shorter directory"
            )
        }
        return path
    }

    private static func directory(
        _ name: String,
        _ environment: (String) -> String?,
        default fallback: String
    ) throws(PathError) -> String {
        guard var path = environment(name), !path.isEmpty else { return fallback }
        guard path.hasPrefix("/") else {
            throw PathError(path: path, reason: "\(name) must be an absolute path, from / on")
        }
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }
}
