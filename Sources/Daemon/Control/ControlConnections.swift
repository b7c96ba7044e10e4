import NIOCore
import Synchronization

/// The open connections of one server: counted, and closed at its end.
final class ControlConnections: Sendable {
    private let limit: Int
    private let open = Mutex<[ObjectIdentifier: any Channel]>([:])

    init(limit: Int) { self.limit = limit }

    /// Takes a connection in; false if there are too many.
    func add(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let added = open.withLock { open in
            guard open.count < limit else { return false }
            open[id] = channel
            return true
        }
        if added {
            channel.closeFuture.whenComplete { _ in self.open.withLock { _ = $0.removeValue(forKey: id) } }
        }
        return added
    }

    /// Closes idle connections now, the others after their answer, and all of them after `milliseconds`.
    /// Blocks until the last is closed.
    func drain(on loop: any EventLoop, milliseconds: Int64) {
        let channels = open.withLock { Array($0.values) }
        for channel in channels {
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
        let cut = loop.scheduleTask(in: .milliseconds(milliseconds)) {
            for channel in channels { channel.close(promise: nil) }
        }
        try? EventLoopFuture.andAllComplete(channels.map(\.closeFuture), on: loop).wait()
        cut.cancel()
    }
}
