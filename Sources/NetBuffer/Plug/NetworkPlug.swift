import Checkpoint
import Glibc
import SystemSupport

/// The kernel's plug over all of a guest's ports: what the guest sends is held in the kernel, whatever becomes of this process,
/// until the epoch it belongs to is released. Each port's story is `PortPlug`'s.
///
/// One thread at a time, and one owner at a time for each guest: the caller holds whatever lock the guest has. Needs
/// CAP_NET_ADMIN. A cut and a release are one exchange with the kernel for all ports, and allocate nothing.
package final class NetworkPlug: OutputBuffer {
    /// Bytes that a port may have held by default: more than the 256 packets that netback hands out before it waits.
    package static let defaultLimit = 64 << 20

    package let wasClosed: Bool
    private let guest: String
    private let kernel: any PlugKernel
    private let ports: [PortPlug]
    private var isDropping = false
    /// The epoch that is cut and not released.
    private var closed: UInt64?
    /// The epoch released last, until the next order of another kind.
    private var lastReleased: UInt64?
    /// The orders of the steady state, for the devices the ports have now.
    private var steady: Steady?
    private var heldLast = 0

    /// What each checkpoint does, as long as no port is turned over.
    private struct Steady {
        let devices: [Int32]
        let cut: PlugBatch
        let release: PlugBatch
    }

    /// Makes a plug for each port, or takes over what a predecessor left. No traffic is touched before the first cut.
    /// - Parameters:
    ///   - domain: the guest's domain number, for the devices' names.
    ///   - ports: all interfaces through which the guest sends; they exist.
    ///   - limit: bytes that each port may have held; what comes beyond is dropped, as on a full wire.
    package convenience init(
        guest: String,
        domain: UInt32,
        ports: [GuestPort],
        limit: Int = defaultLimit
    ) throws(GuestError) {
        let kernel: NetlinkPlugKernel
        do {
            kernel = try NetlinkPlugKernel()
        } catch {
            throw GuestError(guest: guest, reason: "\(error)")
        }
        try self.init(guest: guest, domain: domain, ports: ports, limit: limit, kernel: kernel)
    }

    package init(
        guest: String,
        domain: UInt32,
        ports: [GuestPort],
        limit: Int,
        kernel: any PlugKernel
    ) throws(GuestError) {
        self.guest = guest
        self.kernel = kernel
        let limit = Int32(clamping: limit)
        self.ports = ports.map { PortPlug($0, domain: domain, limit: limit, kernel: kernel) }
        do throws(NetlinkError) {
            for port in self.ports {
                try port.adopt()
                guard port.interface != 0 else {
                    throw NetlinkError("find the guest's network interface \(port.port.interface)", code: 19)
                }
            }
            wasClosed = !self.ports.isEmpty && self.ports.allSatisfy { $0.current != nil }
            for port in self.ports { try port.prepare() }
        } catch {
            throw GuestError(guest: guest, reason: Self.reason(error))
        }
    }

    deinit { close() }

    /// Packets that were dropped so far because a port held as much as it may.
    package var drops: UInt64 { ports.reduce(0) { $0 + $1.drops } }

    // MARK: Orders

    package func cut(epoch: UInt64) throws(GuestError) {
        guard !isDropping else { throw refusal(.dropping) }
        if let closed, closed != epoch { throw refusal(.alreadyCut(closed: closed)) }
        closed = epoch
        lastReleased = nil
        try attempt { () throws(NetlinkError) in
            if let batch = steadyCut {
                defer { for (index, port) in ports.enumerated() { port.didCut(batch.outcomes[index]) } }
                return try kernel.perform(batch)
            }
            try cutAndTurn()
        }
    }

    /// The cut of every port by its count; nil if one must be turned over.
    private var steadyCut: PlugBatch? {
        guard let steady else { return nil }
        for (index, port) in ports.enumerated() {
            guard case .cut(steady.devices[index])? = port.cutByCount else { return nil }
        }
        return steady.cut
    }

    private func cutAndTurn() throws(NetlinkError) {
        steady = nil
        var orders: [PlugOrder] = []
        var steps: [(port: PortPlug, turns: Bool, index: Int?)] = []
        for port in ports {
            let byCount = port.cutByCount
            let order = if let byCount { byCount } else { try port.turn() }
            steps.append((port, byCount == nil, order == nil ? nil : orders.count))
            if let order { orders.append(order) }
        }
        let batch = try PlugBatch(orders)
        defer {
            for step in steps {
                let outcome = step.index.map { batch.outcomes[$0] }
                if step.turns { step.port.didTurn(outcome) } else { step.port.didCut(outcome ?? 0) }
            }
        }
        if !orders.isEmpty { try kernel.perform(batch) }
    }

    package func release(epoch: UInt64) throws(GuestError) {
        guard !isDropping else { throw refusal(.dropping) }
        if closed == nil, lastReleased == epoch { return }
        guard closed == epoch else { throw refusal(.notCut(epoch: epoch, closed: closed)) }
        try attempt { () throws(NetlinkError) in
            if let steady, ports.allSatisfy({ $0.cut == .counted && $0.sealed.isEmpty && $0.isExact }) {
                try kernel.perform(steady.release)
            } else {
                try releaseOlder()
            }
        }
        for port in ports { port.didRelease() }
        closed = nil
        lastReleased = epoch
    }

    private func releaseOlder() throws(NetlinkError) {
        var orders: [PlugOrder] = []
        for port in ports {
            orders += try port.release()
            try port.endFormerRedirections()
        }
        if !orders.isEmpty { try kernel.perform(try PlugBatch(orders)) }
        let devices = ports.compactMap(\.current)
        guard devices.count == ports.count, !devices.isEmpty else { return }
        steady = Steady(
            devices: devices,
            cut: try PlugBatch(devices.map { .cut($0) }),
            release: try PlugBatch(devices.map { .releaseOne($0) })
        )
    }

    package func absorb() throws(GuestError) {
        for port in ports { port.absorb() }
        closed = nil
        lastReleased = nil
    }

    package func releaseAll() throws(GuestError) {
        steady = nil
        try attempt { () throws(NetlinkError) in for port in ports { try port.open() } }
        closed = nil
        lastReleased = nil
        isDropping = false
    }

    package func dropAll() throws(GuestError) {
        steady = nil
        isDropping = true
        closed = nil
        lastReleased = nil
        try attempt { () throws(NetlinkError) in for port in ports { try port.drop() } }
    }

    // MARK: Upkeep

    /// Also removes what has drained, and makes ready what the next turn needs: to be called now and then, outside of
    /// a pause.
    package func heldBytes() -> Int {
        do throws(NetlinkError) {
            var bytes = 0
            for port in ports {
                if !isDropping { try port.prepare() }
                bytes += try port.heldBytes()
            }
            heldLast = bytes
        } catch {
            // What the kernel does not say now it says the next time.
        }
        return heldLast
    }

    /// The end of ownership. What is open is taken down, after what was released has left, for which it waits at most a
    /// second; what is closed stays closed, for the next owner.
    package func close() {
        let deadline = Clock.monotonic + 1_000_000_000
        for port in ports where port.current == nil {
            while (try? port.reap()) == false, Clock.monotonic < deadline { usleep(5000) }
        }
        for port in ports { try? port.takeDown(hurry: true) }
    }

    private func attempt(_ body: () throws(NetlinkError) -> Void) throws(GuestError) {
        do throws(NetlinkError) {
            try body()
        } catch {
            throw GuestError(guest: guest, reason: Self.reason(error))
        }
    }

    private static func reason(_ error: NetlinkError) -> String {
        switch error.code {
        case 1, 13: "\(error); remusd needs CAP_NET_ADMIN"  // EPERM, EACCES
        case 2, 95:  // ENOENT, EOPNOTSUPP
            "\(error); the kernel needs ifb, sch_plug, sch_ingress, cls_matchall and act_mirred"
        default: error.description
        }
    }

    private func refusal(_ refusal: PlugRefusal) -> GuestError {
        GuestError(guest: guest, reason: refusal.description)
    }
}

/// An order that the state of a plug forbids.
private enum PlugRefusal {
    case alreadyCut(closed: UInt64)
    case notCut(epoch: UInt64, closed: UInt64?)
    case dropping

    var description: String {
        switch self {
        case .alreadyCut(let closed): "epoch \(closed) is cut and not released yet"
        case .notCut(let epoch, let closed?):
            "cannot release epoch \(epoch): epoch \(closed) is the one that is cut"
        case .notCut(let epoch, nil): "cannot release epoch \(epoch): no epoch is cut"
        case .dropping: "output is being dropped"
        }
    }
}
