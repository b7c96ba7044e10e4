import Glibc
import SystemSupport

/// This program again, or another, at the other end of a control socket. It ends with that.
final class HelperProcess {
    /// The numbers of its end of the control socket, and of a connection that it is given.
    static let control: Int32 = 3, connection: Int32 = 4

    let lines: LineChannel
    let pid: Int32
    private var isReaped = false

    /// Starts `path`, whose standard output goes where our standard error does.
    /// - Parameters:
    ///   - environment: in place of this process's, as `NAME=value`.
    ///   - printsLines: its standard output is its end of the control socket instead.
    init(
        _ name: String,
        _ path: String,
        _ arguments: [String],
        inherited: [Int32: Descriptor] = [:],
        environment: [String]? = nil,
        printsLines: Bool = false
    ) throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        let errors = try Descriptor.standardError()
        var descriptors = inherited
        descriptors[1] = printsLines ? far : errors
        if !printsLines { descriptors[Self.control] = far }
        pid = try ChildProcess.spawn(path, arguments, inherited: descriptors, environment: environment)
        lines = LineChannel(near, to: name)
    }

    /// Has it end, and waits for that.
    func end() {
        guard !isReaped else { return }
        isReaped = true
        lines.close()
        ChildProcess.reap(pid)
    }

    deinit { end() }
}

extension Descriptor {
    /// A copy of this process's standard error.
    fileprivate static func standardError() throws(SystemError) -> Descriptor {
        let raw = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)
        guard raw >= 0 else { throw SystemError("duplicate standard error") }
        return Descriptor(owning: raw)
    }
}
