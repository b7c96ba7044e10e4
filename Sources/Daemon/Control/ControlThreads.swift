import NIOPosix

/// The threads on which handlers and producers may block. Producers have their own, so that a few long exports never
/// keep `status` or `activate` waiting; so have orders, because an activation waits for hooks, which may ask for the `status`.
final class ControlThreads: Sendable {
    private let handlers = NIOThreadPool(numberOfThreads: 4)
    private let orders = NIOThreadPool(numberOfThreads: 8)
    private let producers = NIOThreadPool(numberOfThreads: 2)

    init() {
        handlers.start()
        orders.start()
        producers.start()
    }

    /// Runs `body` on a thread for answers. It is dropped if the server stops first.
    /// - Parameter isOrder: the request wants something done.
    func answer(isOrder: Bool, _ body: @escaping @Sendable () -> Void) {
        (isOrder ? orders : handlers).submit { if $0 == .active { body() } }
    }

    /// Runs `body` on a thread for streams. It is dropped if the server stops first.
    func produce(_ body: @escaping @Sendable () -> Void) {
        producers.submit { if $0 == .active { body() } }
    }

    /// Ends the threads once what they run has returned.
    func stop() {
        try? handlers.syncShutdownGracefully()
        try? orders.syncShutdownGracefully()
        try? producers.syncShutdownGracefully()
    }
}
