import Checkpoint
import Synchronization
import SystemSupport

/// Holds what the guest answers until the epoch it belongs to is committed. Lives with the guest, outlives its
/// controller, and opens only when told to.
///
/// Counts cuts: a byte belongs to the slot (number of cuts so far) in which it was answered, and may be sent once
/// `released` has passed that slot. So a cut touches no connection, whatever the number of them.
package final class Plug: Sendable {
    /// What happens to output.
    package enum Mode: String, Sendable {
        case open, closed, dropping
    }

    struct State {
        var mode = Mode.open
        /// Cuts so far; the slot of what is answered now.
        var slot: UInt64 = 0
        /// Slots below this may be sent.
        var released: UInt64 = 0
        /// The epoch that is cut and not released, and which controller (by count) cut it.
        var cut: (epoch: UInt64, controller: UInt64)?
        var controllers: UInt64 = 0
        /// The epoch that was released last, and which controller's it was, until the next cut or any other order.
        var lastReleased: (epoch: UInt64, controller: UInt64)?
        var heldClosed = 0
        var heldRunning = 0
        /// Connections the NIC should look at.
        var attention: [ClientConnection] = []
        /// The NIC should look at all of them.
        var attendAll = false
    }

    private let monitor = Monitor(State())
    /// Wakes the NIC's thread.
    let wake: EventFD
    /// Bytes in memory on account of output; at `limit` the guest is asked nothing more.
    let buffered = Atomic<Int>(0)
    let limit: Int
    /// The most that may wait for one client that does not read.
    static let connectionLimit = 1 << 20

    init(limit: Int, wake: EventFD) {
        self.limit = limit
        self.wake = wake
    }

    // MARK: The controller's side

    /// A new controller has come. Returns whether output is held (or dropped) on somebody's behalf.
    func controllerCame() -> Bool {
        monitor.withLock {
            $0.controllers += 1
            return $0.mode != .open
        }
    }

    /// Ends the running epoch's output. What a predecessor had cut and never released is closed along with it.
    package func cut(epoch: UInt64) throws(PlugRefusal) {
        try monitor.withLock { state throws(PlugRefusal) in
            guard state.mode != .dropping else { throw .dropping }
            // The same epoch again: its first checkpoint was abandoned after the cut, and this one covers more.
            if let cut = state.cut, cut.controller == state.controllers, cut.epoch != epoch {
                throw .alreadyCut(closed: cut.epoch)
            }
            state.mode = .closed
            state.slot += 1
            state.heldClosed += state.heldRunning
            state.heldRunning = 0
            state.cut = (epoch, state.controllers)
            state.lastReleased = nil
        }
    }

    /// Lets the output of the epoch that is cut go. Again is no error: the answer to the first order may be lost.
    package func release(epoch: UInt64) throws(PlugRefusal) {
        try monitor.withLock { state throws(PlugRefusal) in
            guard state.mode != .dropping else { throw .dropping }
            if state.cut == nil, let last = state.lastReleased, last == (epoch, state.controllers) { return }
            guard let cut = state.cut, cut.epoch == epoch else {
                throw .notCut(epoch: epoch, closed: state.cut?.epoch)
            }
            state.cut = nil
            state.lastReleased = (epoch, state.controllers)
            state.released = state.slot
            state.heldClosed = 0
            state.attendAll = true
        }
        wake.signal()
    }

    /// An epoch that was cut and never released is released along with the next one: a new session begins.
    package func absorb() {
        monitor.withLock { state in
            state.cut = nil
            state.lastReleased = nil
        }
    }

    /// Lets everything go and holds nothing any more.
    package func releaseAll() {
        monitor.withLock { state in
            state.mode = .open
            state.cut = nil
            state.lastReleased = nil
            state.slot += 1
            state.released = state.slot
            state.heldClosed = 0
            state.heldRunning = 0
            state.attendAll = true
        }
        wake.signal()
    }

    /// Drops everything held, and all that comes, until `releaseAll`.
    package func dropAll() {
        monitor.withLock { state in
            state.mode = .dropping
            state.cut = nil
            state.lastReleased = nil
            state.attendAll = true
        }
        wake.signal()
    }

    /// The mode, the bytes held, and the epoch that is cut.
    package var snapshot: (mode: Mode, heldBytes: Int, cutEpoch: UInt64?) {
        monitor.withLock { ($0.mode, $0.heldClosed + $0.heldRunning, $0.cut?.epoch) }
    }

    // MARK: The vcpu's side

    /// Takes what the guest answered a connection (`reply` is emptied). With `returning` the connection goes back to
    /// the NIC: with `hasRequests` because too much output waits, with `finish` to be closed once all is sent.
    func transmit(
        _ connection: ClientConnection,
        _ reply: ByteQueue,
        returning: Bool,
        hasRequests: Bool,
        finish: Bool
    ) {
        let wakes = monitor.withLock { state -> Bool in
            let bytes = reply.count
            if bytes > 0, state.mode != .dropping, !connection.isClosed.load(ordering: .relaxed) {
                settle(connection, state)
                connection.output.append(reply.readable)
                if state.mode == .open {
                    connection.sendable += bytes
                } else {
                    connection.running += bytes
                    state.heldRunning += bytes
                }
                buffered.add(bytes, ordering: .relaxed)
            }
            if returning {
                connection.ownedByVCPU = false
                connection.hasRequests = hasRequests
                connection.isFinishing = connection.isFinishing || finish
            }
            let isIdle = !returning || !(connection.readPaused || hasRequests || finish)
            guard connection.sendable > 0 || !isIdle, !connection.isListed else { return false }
            connection.isListed = true
            state.attention.append(connection)
            return state.attention.count == 1
        }
        reply.removeAll()
        if wakes { wake.signal() }
    }

    /// Whether there is no room for more than `pending` bytes of answers.
    func isFull(pending: Int) -> Bool { buffered.load(ordering: .relaxed) + pending >= limit }

    // MARK: The NIC's side

    /// Connections that want attention since the last call, added to `list`; true if all of them do.
    func takeAttention(into list: inout [ClientConnection]) -> Bool {
        monitor.withLock { state in
            for connection in state.attention { connection.isListed = false }
            swap(&list, &state.attention)
            defer { state.attendAll = false }
            return state.attendAll
        }
    }

    /// What the NIC may do with a connection.
    enum Permission {
        /// Read its requests.
        case read
        /// It is the vcpu's now: deliver it.
        case handOver
        /// Not now; it will want attention.
        case nothing
        /// Not before there is room in the plug.
        case full
        case close
    }

    /// Moves what may be sent to `connection.sending`, and says what else to do.
    func attend(_ connection: ClientConnection) -> Permission {
        monitor.withLock { state in
            settle(connection, state)
            if connection.sendable > 0 {
                if connection.sendable == connection.output.count, connection.sending.isEmpty {
                    swap(&connection.output, &connection.sending)
                } else {
                    let bytes = UnsafeRawBufferPointer(
                        rebasing: connection.output.readable[..<connection.sendable]
                    )
                    connection.sending.append(bytes)
                    connection.output.consume(connection.sendable)
                }
                connection.sendable = 0
            }
            return permission(connection, state)
        }
    }

    /// What to do with a client that has sent something. Unless it is `read`, its socket need not be watched for
    /// requests until it is given attention.
    func permissionToRead(_ connection: ClientConnection) -> Permission {
        monitor.withLock { state in
            let permission = permission(connection, state)
            if case .read = permission { return permission }
            connection.readPaused = true
            return permission
        }
    }

    /// Whether the socket need not be watched for requests.
    func isReadPaused(_ connection: ClientConnection) -> Bool {
        monitor.withLock { _ in connection.readPaused }
    }

    /// Whether nothing is left to send now.
    func isSent(_ connection: ClientConnection) -> Bool {
        monitor.withLock { state in
            settle(connection, state)
            return connection.sendable == 0 && connection.sending.isEmpty
        }
    }

    private func permission(_ connection: ClientConnection, _ state: borrowing State) -> Permission {
        if state.mode == .dropping { return .close }
        if connection.ownedByVCPU { return .nothing }
        if connection.isFinishing {
            return connection.output.isEmpty && connection.sending.isEmpty ? .close : .nothing
        }
        guard connection.sending.count < Self.connectionLimit else { return .nothing }
        guard !isFull(pending: 0) else { return .full }
        if connection.hasRequests {
            connection.hasRequests = false
            connection.ownedByVCPU = true
            return .handOver
        }
        connection.readPaused = false
        return .read
    }

    /// The NIC has read requests: the connection is the vcpu's from here on.
    func handOver(_ connection: ClientConnection) { monitor.withLock { _ in connection.ownedByVCPU = true } }

    /// `count` bytes reached the client.
    func sent(_ count: Int) { buffered.subtract(count, ordering: .relaxed) }

    /// The client is gone; what was held for it is dropped.
    func forget(_ connection: ClientConnection) {
        monitor.withLock { state in
            settle(connection, state)
            connection.isClosed.store(true, ordering: .relaxed)
            state.heldClosed -= connection.closed
            state.heldRunning -= connection.running
            buffered.subtract(connection.output.count + connection.sending.count, ordering: .relaxed)
            (connection.sendable, connection.closed, connection.running) = (0, 0, 0)
            connection.output.removeAll()
            connection.sending.removeAll()
        }
    }

    /// Brings a connection's counts up to date with the cuts and releases since it was last looked at.
    private func settle(_ connection: ClientConnection, _ state: borrowing State) {
        if connection.closed > 0, connection.closedSlot < state.released {
            connection.sendable += connection.closed
            connection.closed = 0
        }
        guard connection.slot < state.slot else { return }
        if connection.slot < state.released {
            connection.sendable += connection.running
        } else if connection.running > 0 {
            connection.closed += connection.running
            connection.closedSlot = connection.slot
        }
        connection.running = 0
        connection.slot = state.slot
    }
}
