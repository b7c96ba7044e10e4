import CLinux
import Glibc

/// Receives signals on a thread of its own, where anything may be done, instead of in a signal handler (signalfd(2)).
///
/// A signal is only held back for this thread if every thread blocks it, so make one on the main thread, before any
/// other thread is started. Processes started with `exec` inherit the blocked mask: start them with an empty one
/// (POSIX_SPAWN_SETSIGMASK).
package final class SignalWaiter: Sendable {
    private let stop: EventFD

    /// Blocks `signals` in this thread and all it starts from now on; each one that comes is handed to `onSignal`.
    package init(
        _ signals: [Int32] = [SIGINT, SIGTERM, SIGHUP],
        onSignal: @escaping @Sendable (Int32) -> Void
    ) throws(SystemError) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        let raw = signalfd(-1, &set, Int32(SFD_CLOEXEC) | Int32(SFD_NONBLOCK))
        guard raw >= 0 else { throw SystemError("wait for signals") }
        let source = Descriptor(owning: raw)
        let stop = try EventFD()
        self.stop = stop
        let blocked = pthread_sigmask(SIG_BLOCK, &set, nil)
        guard blocked == 0 else { throw SystemError("block signals", code: blocked) }
        _ = try WorkerThread("signals") {
            while true {
                var entries = [
                    pollfd(fd: source.raw, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: stop.descriptor.raw, events: Int16(POLLIN), revents: 0),
                ]
                _ = poll(&entries, 2, -1)
                if entries[1].revents != 0 { return }
                var info = signalfd_siginfo()
                while read(source.raw, &info, MemoryLayout<signalfd_siginfo>.size)
                    == MemoryLayout<signalfd_siginfo>.size
                {
                    onSignal(Int32(info.ssi_signo))
                }
            }
        }
    }

    /// Ends the thread. The signals stay blocked.
    deinit { stop.signal() }
}

/// What a program does about signals as a whole.
package enum Signals {
    /// From here on `numbers` do nothing.
    package static func ignore(_ numbers: [Int32]) {
        for number in numbers { signal(number, SIG_IGN) }
    }
}
