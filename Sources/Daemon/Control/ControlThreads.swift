import NIOCore
import NIOPosix
import Synchronization

/// The threads of a control socket: one for its connections, and those on which handlers and producers may block. Producers have
/// their own, so that a few long exports never keep `status` or `activate` waiting; so have orders, because an activation waits for
/// hooks, which may ask for the `status`.
package final class ControlThreads: Sendable {
    /// The thread of the connections.
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let handlers: NIOThreadPool
    private let orders: NIOThreadPool
    private let producers: NIOThreadPool
    private let isStopped = Atomic<Bool>(false)

    /// Starts them: as many as may block at once.
    package init(handlers: Int = 4, orders: Int = 8, producers: Int = 2) {
        self.handlers = NIOThreadPool(numberOfThreads: handlers)
        self.orders = NIOThreadPool(numberOfThreads: orders)
        self.producers = NIOThreadPool(numberOfThreads: producers)
        for pool in [self.handlers, self.orders, self.producers] { pool.start() }
    }

    deinit { stop() }

    /// Runs `body` on a thread for answers. It is dropped if the server stops first.
    /// - Parameter isOrder: the request wants something done.
    func answer(isOrder: Bool, _ body: @escaping @Sendable () -> Void) {
        (isOrder ? orders : handlers).submit { if $0 == .active { body() } }
    }

    /// Runs `body` on a thread for streams. It is dropped if the server stops first.
    func produce(_ body: @escaping @Sendable () -> Void) {
        producers.submit { if $0 == .active { body() } }
    }

    /// Ends the threads once what they run has returned. Any number of times; not on one of them.
    func stop() {
        guard !isStopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
        try? handlers.syncShutdownGracefully()
        try? orders.syncShutdownGracefully()
        try? producers.syncShutdownGracefully()
        try? group.syncShutdownGracefully()
    }
}
