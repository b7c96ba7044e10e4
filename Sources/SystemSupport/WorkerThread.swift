import CLinux
import Glibc

/// A thread of its own, for work that must not wait behind anything else.
///
/// Unchecked: `handle` is set before the object is shared and never changes.
package final class WorkerThread: @unchecked Sendable {
    private let handle: pthread_t

    private final class Start {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Starts `body` on a new thread; `name` (at most 15 bytes) shows in /proc/PID/task/TID/comm.
    package init(_ name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let failure = ProcessorPin.starting {
            pthread_create(
                &thread,
                nil,
                { argument in
                    guard let argument else { return nil }
                    let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                    start.name.withCString { _ = CLinux_prctl(PR_SET_NAME, UInt(bitPattern: $0)) }
                    start.body()
                    return nil
                },
                start.toOpaque()
            )
        }
        guard failure == 0 else {
            start.release()
            throw SystemError("start thread \(name)", code: failure)
        }
        handle = thread
    }

    /// Waits until the thread has ended. Once only.
    package func join() { pthread_join(handle, nil) }

    /// Leaves the thread to itself: nobody will join it.
    package func detach() { pthread_detach(handle) }
}
