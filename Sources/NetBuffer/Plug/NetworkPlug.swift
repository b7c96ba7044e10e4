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
    package static let defaultLimit = HoldLimit.most

    package let wasClosed: Bool
    /// Interfaces that were open while others were closed: what they sent got past.
    package let foundOpen: [String]
    private let guest: String
    let kernel: any PlugKernel
    let domain: UInt32
    let limit: Int
    var ports: [PortPlug] = []
    var closed = ClosedEpoch.nothing()
    /// Output has been held since the last time that it was let go for good: no port may be open.
    var isHolding = false
    /// The orders of the steady state, for the devices the ports have now.
    var steady: Steady?
    private var heldLast = HeldOutput()
    /// Of ports that are gone.
    var pastDrops: UInt64 = 0

    /// What each checkpoint does, as long as no port is turned over.
    struct Steady {
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
        self.domain = domain
        self.limit = limit
        do throws(NetlinkError) {
            var made: [PortPlug] = []
            for port in ports {
                let plug = Self.plug(port, domain, limit, kernel)
                try plug.adopt()
                guard plug.interface != 0 else {
                    throw NetlinkError("find the guest's network interface \(port.interface)", code: 19)
                }
                made.append(plug)
            }
            // One that is open beside others appeared when nobody was there to close it, or was about to be closed or opened:
            // what the guest says is held.
            wasClosed = made.contains { $0.current != nil }
            foundOpen = wasClosed ? made.filter { $0.current == nil }.map(\.port.interface) : []
            isHolding = wasClosed
            self.ports = made
            for port in made {
                try port.prepare()
                if wasClosed { try port.join() }
            }
        } catch {
            throw GuestError(guest: guest, reason: Self.reason(error))
        }
    }

    static func plug(
        _ port: GuestPort,
        _ domain: UInt32,
        _ limit: Int,
        _ kernel: any PlugKernel
    ) -> PortPlug {
        PortPlug(port, domain: domain, limit: Int32(clamping: port.limit ?? limit), kernel: kernel)
    }

    deinit { close() }

    /// Packets that were dropped so far: a port held as much as it may, or was being taken away.
    package var drops: UInt64 { ports.reduce(pastDrops) { $0 + $1.drops } }

    // MARK: Orders

    package func cut(epoch: UInt64) throws(GuestError) {
        do throws(PlugRefusal) { try closed.cut(epoch) } catch { throw refusal(error) }
        try attempt { () throws(NetlinkError) in
            if let batch = steadyCut {
                defer { for (index, port) in ports.enumerated() { port.didCut(batch.outcomes[index]) } }
                return try kernel.perform(batch)
            }
            try cutAndTurn()
        }
        isHolding = true
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
        let isDue: Bool
        do throws(PlugRefusal) { isDue = try closed.mayRelease(epoch) } catch { throw refusal(error) }
        guard isDue else { return }
        try attempt { () throws(NetlinkError) in
            if let steady, ports.allSatisfy({ $0.cut == .counted && $0.sealed.isEmpty && $0.isExact }) {
                try kernel.perform(steady.release)
            } else {
                try releaseOlder()
            }
        }
        for port in ports { port.didRelease() }
        closed = .nothing(released: epoch)
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
        // What is dropped goes on being dropped.
        if closed != .dropping { closed = .nothing() }
    }

    package func releaseAll() throws(GuestError) {
        steady = nil
        isHolding = false
        try attempt { () throws(NetlinkError) in for port in ports { try port.open() } }
        closed = .nothing()
    }

    package func dropAll() throws(GuestError) {
        steady = nil
        isHolding = true
        closed = .dropping
        try attempt { () throws(NetlinkError) in for port in ports { try port.drop() } }
    }

    // MARK: Upkeep

    /// Also removes what has drained, and makes ready what the next turn needs: to be called now and then, outside of
    /// a pause.
    package func held() -> HeldOutput {
        var held = HeldOutput(packets: 0, fillPercent: 0)
        var isKnown = true
        for port in ports {
            do throws(NetlinkError) {
                if closed != .dropping { try port.prepare() }
                if isHolding, port.current == nil { try enter(port) }
                let contents = try port.held()
                held.bytes += contents.bytes
                held.packets = (held.packets ?? 0) + contents.packets
                held.fillPercent = max(held.fillPercent ?? 0, port.fill)
            } catch {
                if error.isAbsence { port.doubt() }
                // What the kernel does not say now it says the next time.
                isKnown = false
            }
        }
        if isKnown { heldLast = held }
        heldLast.dropped = drops
        return heldLast
    }

    package func heldBytes() -> Int { held().bytes }

    /// The end of ownership. What is open is taken down, after what was released has left, for which it waits at most a
    /// second; what is closed stays closed, for the next owner.
    package func close() {
        let deadline = Clock.monotonic + 1_000_000_000
        for port in ports where port.current == nil {
            while (try? port.reap()) == false, Clock.monotonic < deadline { usleep(5000) }
        }
        for port in ports { try? port.takeDown() }
    }

    func attempt(_ body: () throws(NetlinkError) -> Void) throws(GuestError) {
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
