import NIOPosix

/// The threads on which handlers and producers may block. Producers have their own, so that a few long exports never
/// keep `status` or `activate` waiting.
final class ControlThreads: Sendable {
    private let handlers = NIOThreadPool(numberOfThreads: 4)
    private let producers = NIOThreadPool(numberOfThreads: 2)

    init() {
        handlers.start()
        producers.start()
    }

    /// Runs `body` on a thread for short answers. It is dropped if the server stops first.
    func answer(_ body: @escaping @Sendable () -> Void) {
        handlers.submit { if $0 == .active { body() } }
    }

    /// Runs `body` on a thread for streams. It is dropped if the server stops first.
    func produce(_ body: @escaping @Sendable () -> Void) {
        producers.submit { if $0 == .active { body() } }
    }

    /// Ends the threads once what they run has returned.
    func stop() {
        try? handlers.syncShutdownGracefully()
        try? producers.syncShutdownGracefully()
    }
}
