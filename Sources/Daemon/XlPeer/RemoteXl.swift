import Glibc
import SystemSupport

/// The xl of another host, fed through a command such as ssh (`XlPeerScript`). Used by one thread.
///
/// When this goes, the command's input ends: what is there then is held, never started.
final class RemoteXl {
    private let process: ProcessHandle
    private var input: Descriptor?
    private let output: Descriptor
    private var said: [UInt8] = []
    private(set) var isReady = false
    private(set) var hasEnded = false
    /// Pieces that xl has, all but what a pipe holds.
    private(set) var acknowledged: UInt64 = 0

    /// - Parameter command: what runs a shell's script on `host`, as `COMMAND HOST SCRIPT`.
    init(command: String, host: String, guest: String) throws(SystemError) {
        let (childInput, input) = try Pipe.create()
        let (output, childOutput) = try Pipe.create()
        Pipe.widen(input, to: 1 << 20)
        try input.setNonBlocking(true)
        try output.setNonBlocking(true)
        let script = XlPeerScript.quoted(XlPeerScript.text(guest: guest))
        let pid = try ChildProcess.spawn(
            "/bin/sh",
            ["-c", "exec \(command) \(XlPeerScript.quoted(host)) \(script)"],
            inherited: [0: childInput, 1: childOutput],
            ownSession: true
        )
        do throws(SystemError) {
            process = try ProcessHandle(pid: pid)
        } catch {
            kill(pid, SIGKILL)
            ChildProcess.reap(pid)
            throw error
        }
        (self.input, self.output) = (input, output)
    }

    deinit {
        input = nil
        // What still runs here then is the command only.
        process.waitForEnd(milliseconds: hasEnded ? 5000 : 500)
        process.signal(SIGKILL)
        ChildProcess.reap(process.pid)
    }

    /// For poll: what it says.
    var descriptor: Int32 { output.raw }
    /// For poll, while something is to be written.
    var inputDescriptor: Int32 { input?.raw ?? -1 }

    /// Writes what the kernel takes.
    /// - Returns: the bytes taken.
    func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Int {
        guard !bytes.isEmpty else { return 0 }
        let count = Glibc.write(inputDescriptor, bytes.baseAddress, bytes.count)
        if count >= 0 { return count }
        guard errno == EAGAIN || errno == EINTR else { throw SystemError("write to the other host's xl") }
        return 0
    }

    /// Takes what it said.
    /// - Throws: `XlPeerError` when the command has ended.
    func listen() throws {
        let isOver = try withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { buffer in
            while let count = try Pipe.readNow(from: output, into: buffer) {
                guard count > 0 else { return true }
                said.append(contentsOf: buffer[..<count])
            }
            return false
        }
        while let end = said.firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: said[..<end], as: UTF8.self)
            said.removeSubrange(...end)
            if line + "\n" == XlReceiver.banner { isReady = true }
            if line.hasPrefix(XlPeerScript.acknowledged) { acknowledged += 1 }
            if line == XlPeerScript.ended { hasEnded = true }
        }
        guard !isOver || hasEnded else { throw XlPeerError("the command to the other host has ended") }
    }
}
