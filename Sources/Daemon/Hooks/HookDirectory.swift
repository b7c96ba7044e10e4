import Checkpoint
import Glibc
import SystemSupport

/// Where the operator's hooks lie, and how long they may take.
package struct HookOptions: Sendable {
    /// Where they lie unless somebody says otherwise.
    package static let standard = "/etc/remusd/hooks.d"

    /// Each executable in it is a hook; a directory that is not there holds none.
    package var directory: String
    /// For one hook; after that it is ended with its children.
    package var timeout: TimeSpan
    /// For all `pre-activate` hooks of an activation together: clients wait for it.
    package var vetoTimeout: TimeSpan { min(timeout, .seconds(10)) }

    package init(directory: String = standard, timeout: TimeSpan = .seconds(60)) {
        self.directory = directory
        self.timeout = timeout
    }
}

/// The hooks of a directory. What could be another user's work is refused.
struct HookDirectory: Sendable {
    let path: String

    /// The hooks, by name.
    /// - Parameter refuse: gets a sentence for each file, or the directory, that is not taken.
    func hooks(refuse: (String) -> Void) -> [String] {
        guard let handle = opendir(path) else {
            let code = errno
            if code != ENOENT { refuse("\(path) cannot be read: \(String(cString: strerror(code)))") }
            return []
        }
        defer { closedir(handle) }
        var info = stat()
        guard fstat(dirfd(handle), &info) == 0, isOurs(info) else {
            refuse("\(path) is not this user's or root's, or others may write to it: no hook in it is run")
            return []
        }
        let names = SmallFile.names(of: handle).filter { !Self.isIgnored($0) }
        return names.sorted().map { "\(path)/\($0)" }.filter { file in
            guard let reason = reasonAgainst(file) else { return true }
            refuse("\(file) is no hook that is run: \(reason)")
            return false
        }
    }

    /// Hidden files, and what editors and package managers leave behind.
    private static func isIgnored(_ name: String) -> Bool {
        name.hasPrefix(".") || name.hasSuffix("~")
            || [".dpkg-", ".rpm"].contains { marker in
                name.split(separator: ".").dropFirst().contains { ".\($0)".hasPrefix(marker) }
            }
    }

    private func reasonAgainst(_ file: String) -> String? {
        var info = stat()
        guard stat(file, &info) == 0 else { return String(cString: strerror(errno)) }
        guard info.st_mode & S_IFMT == S_IFREG else { return "it is no file" }
        guard isOurs(info) else { return "it is not this user's or root's, or others may write to it" }
        guard access(file, X_OK) == 0 else { return "it is not executable" }
        return nil
    }

    private func isOurs(_ info: stat) -> Bool {
        (info.st_uid == 0 || info.st_uid == geteuid()) && info.st_mode & (S_IWGRP | S_IWOTH) == 0
    }
}
