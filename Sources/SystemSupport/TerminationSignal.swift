import CLinux
import Glibc
import Synchronization

/// The eventfd that the signal handler writes to, -1 before there is one. A handler can reach nothing but globals.
private let terminationDescriptor = Atomic<Int32>(-1)

/// Turns signals that ask a program to end into something a thread can wait for (signal-safety(7)).
package enum TerminationSignal {
    /// From here on `numbers` no longer kill the program but signal the returned event. Once per program.
    package static func catching(_ numbers: [Int32]) throws(SystemError) -> EventFD {
        let event = try EventFD()
        // The handler outlives every owner, so it has a descriptor of its own that is never closed.
        let copy = fcntl(event.descriptor.raw, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw SystemError("duplicate a descriptor") }
        terminationDescriptor.store(copy, ordering: .sequentiallyConsistent)
        for number in numbers {
            signal(number) { _ in
                let saved = errno
                var one: UInt64 = 1
                _ = write(terminationDescriptor.load(ordering: .relaxed), &one, 8)
                errno = saved
            }
        }
        return event
    }

    /// From here on `numbers` do nothing.
    package static func ignore(_ numbers: [Int32]) { for number in numbers { signal(number, SIG_IGN) } }
}

extension EventFD {
    /// Waits until it is signalled, and takes the signal back.
    package func wait() {
        var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        while poll(&entry, 1, -1) < 0 {}
        drain()
    }
}
