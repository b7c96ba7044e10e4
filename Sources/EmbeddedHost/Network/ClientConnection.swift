import Synchronization
import SystemSupport

/// One client's TCP connection to the guest: on the host's side, no part of guest state.
///
/// Unchecked: `input` and `parser` belong to the NIC's thread or to the vcpu's, as `ownedByVCPU` says (it changes
/// hands under the plug's lock); the fields marked so are touched only under the plug's lock; the rest of the
/// variables belong to the NIC's thread.
final class ClientConnection: @unchecked Sendable {
    let id: UInt64
    let socket: Descriptor

    // What the client sent and the guest has not executed.
    let input = ByteQueue()
    var parser = RequestParser()

    // Under the plug's lock: what the guest answered, oldest first, as sendable, then closed, then running bytes.
    var output = ByteQueue()
    var sendable = 0
    /// Bytes of epochs that are cut and not released; `closedSlot` is the newest of them.
    var closed = 0
    var closedSlot: UInt64 = 0
    /// Bytes of the epoch that runs, as long as `slot` is the plug's.
    var running = 0
    var slot: UInt64 = 0
    /// The vcpu has requests of it, or executes them.
    var ownedByVCPU = false
    /// Its socket is not watched for requests until the NIC is told to look again.
    var readPaused = false
    /// The vcpu handed it back with requests left, because too much output waits.
    var hasRequests = false
    /// After a protocol error: nothing more is read; closed once all is sent.
    var isFinishing = false
    /// It waits in the NIC's list for attention.
    var isListed = false

    // The NIC's.
    var sending = ByteQueue()
    var interest: Epoll.Events = .readable

    /// The client is gone: what it asked is not executed, what it is told is dropped.
    let isClosed = Atomic<Bool>(false)

    init(id: UInt64, socket: Descriptor) {
        self.id = id
        self.socket = socket
    }
}
