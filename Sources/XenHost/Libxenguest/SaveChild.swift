import Checkpoint
import Glibc
import SystemSupport

/// A child that drives libxenguest's sender for one session: its stream, its questions, its end.
package protocol SaveChild: AnyObject {
    /// Where its stream comes out: the read end of a pipe.
    var stream: Descriptor { get }
    /// Where it asks and is answered (CXenSave.h): a socket of type SOCK_SEQPACKET.
    var control: Descriptor { get }
    /// Its process number, for whoever must know that it is gone.
    var pid: Int32 { get }
    /// Ends it at once. Does not wait; a child that has ended is no error.
    func kill()
    /// Waits until it has ended, at most `milliseconds`. Returns whether it has.
    func waitForEnd(milliseconds: Int32) -> Bool
}

/// The child as a process: `remusd libxenguest-save`.
package final class SaveProcess: SaveChild {
    package let stream: Descriptor
    package let control: Descriptor
    package let pid: Int32
    private let process: ProcessHandle
    private var isReaped = false

    /// Numbers in the child of its end of the pipe, of the socket, and of the guest's lock.
    package static let (streamNumber, controlNumber): (Int32, Int32) = (3, 4)
    private static let lockNumber: Int32 = 5
    /// The hidden subcommand.
    package static let command = "libxenguest-save"

    /// Starts one for a domain; it loads Xen's libraries and then asks whether to begin. It is killed when the calling
    /// thread ends.
    /// - Parameter lock: the guest's, which the child holds too: nobody else takes the guest while it can still touch it.
    package init(domid: UInt32, lock: FileLock) throws(SystemError) {
        let (streamEnd, childStream) = try Pipe.create()
        let (controlEnd, childControl) = try UnixSocket.pairOfPacketSockets()
        Pipe.widen(streamEnd, to: 1 << 20)
        try streamEnd.setNonBlocking(true)
        pid = try ChildProcess.spawn(
            ChildProcess.ownPath,
            [Self.command, "--domid", "\(domid)", "--parent", "\(getpid())"],
            inherited: [
                Self.streamNumber: childStream, Self.controlNumber: childControl, Self.lockNumber: lock.file,
            ]
        )
        do throws(SystemError) {
            process = try ProcessHandle(pid: pid)
        } catch {
            Glibc.kill(pid, SIGKILL)
            ChildProcess.reap(pid)
            throw error
        }
        (stream, control) = (streamEnd, controlEnd)
    }

    deinit {
        kill()
        _ = waitForEnd(milliseconds: 1000)
    }

    package func kill() { process.signal(SIGKILL) }

    package func waitForEnd(milliseconds: Int32) -> Bool {
        guard !isReaped else { return true }
        guard process.waitForEnd(milliseconds: milliseconds) else { return false }
        ChildProcess.reap(pid)
        isReaped = true
        return true
    }
}
