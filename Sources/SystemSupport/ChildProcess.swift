import CLinux
import Glibc

/// Starts other programs (posix_spawn(3)).
package enum ChildProcess {
    /// Starts `path` as a child in the caller's process group, with default signal handling, the caller's
    /// environment, and only the named descriptors besides stdin, stdout and stderr.
    /// - Parameters:
    ///   - arguments: without the program's name.
    ///   - inherited: number in the child → descriptor of ours.
    ///   - environment: replaces the caller's if given, as `NAME=value`.
    ///   - ownSession: start it as the leader of a session and process group of its own, so that it can be ended with all
    ///     its children.
    /// - Returns: the child's process number; the caller reaps it.
    package static func spawn(
        _ path: String,
        _ arguments: [String],
        inherited: [Int32: Descriptor] = [:],
        environment: [String]? = nil,
        ownSession: Bool = false
    ) throws(SystemError) -> Int32 {
        let copies = try copied(inherited, for: path)
        return try start(path, arguments, environment: environment, flags: ownSession ? setsid : 0) {
            actions in
            for copy in copies { posix_spawn_file_actions_adddup2(&actions, copy.source.raw, copy.target) }
        }
    }

    /// Starts `path` as a process that outlives this one and what ends its process group: in a session of its own, with
    /// /dev/null as standard input and output, and `errors` as standard error (default: ours).
    /// `inherited` and `environment` are as for `spawn`.
    package static func spawnDetached(
        _ path: String,
        _ arguments: [String],
        errors: Descriptor? = nil,
        inherited: [Int32: Descriptor] = [:],
        environment: [String]? = nil
    ) throws(SystemError) -> Int32 {
        let copies = try copied(inherited, for: path)
        return try start(path, arguments, environment: environment, flags: setsid) { actions in
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
            posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
            if let errors { posix_spawn_file_actions_adddup2(&actions, errors.raw, 2) }
            for copy in copies { posix_spawn_file_actions_adddup2(&actions, copy.source.raw, copy.target) }
        }
    }

    private static func copied(
        _ inherited: [Int32: Descriptor],
        for path: String
    ) throws(SystemError) -> [(target: Int32, source: Descriptor)] {
        // dup2 onto its own number keeps close-on-exec, and a source may stand where a later target goes: so every
        // source is first copied above all targets.
        let floor = max(64, (inherited.keys.max() ?? 0) + 1)
        var copies: [(target: Int32, source: Descriptor)] = []
        for (target, source) in inherited {
            let copy = fcntl(source.raw, F_DUPFD_CLOEXEC, floor)
            guard copy >= 0 else { throw SystemError("duplicate a descriptor for \(path)") }
            copies.append((target, Descriptor(owning: copy)))
        }
        return copies
    }

    /// POSIX_SPAWN_SETSID, which is behind _GNU_SOURCE (spawn.h).
    private static let setsid: Int32 = 0x80

    /// Starts `path` with no signal blocked and none ignored, and what `prepare` does to its descriptors.
    private static func start(
        _ path: String,
        _ arguments: [String],
        environment: [String]?,
        flags: Int32,
        prepare: (inout posix_spawn_file_actions_t) -> Void
    ) throws(SystemError) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes,
            Int16(Int32(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | flags)
        )
        prepare(&actions)
        var pid: pid_t = 0
        let failure = withCStrings([path] + arguments) { arguments in
            ProcessorPin.starting {
                guard let environment else {
                    return posix_spawn(&pid, path, &actions, &attributes, arguments, CLinux_environ())
                }
                return withCStrings(environment) {
                    posix_spawn(&pid, path, &actions, &attributes, arguments, $0)
                }
            }
        }
        guard failure == 0 else { throw SystemError("start \(path)", code: failure) }
        return pid
    }

    /// Has this process run another program from here on (execv(3)), with the same descriptors and environment.
    /// - Returns: why not, if it cannot.
    package static func become(_ path: String, _ arguments: [String]) -> SystemError {
        let code = withCStrings([path] + arguments) { arguments in
            execv(path, arguments)
            return errno
        }
        return SystemError("run \(path)", code: code)
    }

    /// Takes the exit status of a child that has ended, waiting for it; nil if it is no child.
    @discardableResult
    package static func reap(_ pid: Int32) -> ChildEnd? {
        var status: Int32 = 0
        while true {
            if waitpid(pid, &status, 0) == pid { return ChildEnd(status: status) }
            if errno != EINTR { return nil }
        }
    }

    /// Takes the exit status of a child whenever it ends, so that it leaves no zombie.
    package static func reapWhenEnded(_ pid: Int32) {
        (try? WorkerThread("reap-\(pid)") { reap(pid) })?.detach()
    }

    /// The environment of this process, as `NAME=value`.
    package static var environment: [String] {
        var result: [String] = []
        var next = CLinux_environ()
        while let entry = next?.pointee {
            result.append(String(cString: entry))
            next = next?.successor()
        }
        return result
    }

    /// The path of the running program.
    package static var ownPath: String { SmallFile.target(ofLink: "/proc/self/exe") ?? "/proc/self/exe" }

    private static func withCStrings<R>(
        _ strings: [String],
        _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> R
    ) -> R {
        var pointers: [UnsafeMutablePointer<CChar>?] = []
        for string in strings { pointers.append(strdup(string)) }
        pointers.append(nil)
        defer { for case let pointer? in pointers { free(pointer) } }
        return pointers.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { preconditionFailure("never empty") }
            return body(base)
        }
    }
}
