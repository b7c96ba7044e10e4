/// What the kernel does for a plug, over netlink or in a test's model of it. One thread at a time.
package protocol PlugKernel: AnyObject {
    /// All interfaces of this network namespace.
    func interfaces() throws(NetlinkError) -> [NetInterface]
    /// Makes an ifb that is up, with a plug that holds everything, up to `limit` bytes. Nothing leads to it yet.
    /// - Returns: its index.
    func makeDevice(_ name: String, alias: String, limit: Int32) throws(NetlinkError) -> Int32
    /// Removes a device; what it holds is lost. One that is gone is no error.
    func removeDevice(_ index: Int32) throws(NetlinkError)
    /// Takes a device down: what it holds is lost, and what comes is dropped. One that is gone is no error.
    func silence(_ device: Int32) throws(NetlinkError)
    /// Packets that have come in at an interface since it was made.
    func received(at interface: Int32) throws(NetlinkError) -> UInt64
    /// What a device's plug holds, and what it has dropped; nil if the device is gone or has no plug.
    func contents(of device: Int32) throws(NetlinkError) -> PlugContents?
    /// Whether all that a device's plug let go has left the device. Only meaningful once the plug is empty.
    func isDrained(_ device: Int32) throws(NetlinkError) -> Bool

    /// Makes sure that an interface has an ingress qdisc.
    /// - Returns: the kind of the one it has: `ingress`, unless somebody else has put another one there.
    func readyIngress(of interface: Int32) throws(NetlinkError) -> String
    func removeIngress(of interface: Int32) throws(NetlinkError)
    /// The filters on an interface's ingress, in the order in which they act. None if it has no ingress qdisc.
    func filters(of interface: Int32) throws(NetlinkError) -> [IngressFilter]

    /// Carries out the orders of a batch, one after the other, all even if one is refused. Nothing in between can be
    /// seen by a process, nor left behind by one that is killed.
    /// - Throws: the first failure; `batch.outcomes` has each order's.
    func perform(_ batch: PlugBatch) throws(NetlinkError)
}

/// An interface of the host's.
package struct NetInterface: Equatable, Sendable {
    package let name: String
    package let index: Int32
    /// `ifb`, `vif`…; empty if it says nothing.
    package let kind: String
    package let alias: String
    /// The bridge it is in, 0 if none.
    package let master: Int32

    package init(name: String, index: Int32, kind: String, alias: String, master: Int32) {
        self.name = name
        self.index = index
        self.kind = kind
        self.alias = alias
        self.master = master
    }
}

/// What a plug holds now, and what it has dropped since it was made because it was full.
package struct PlugContents: Equatable, Sendable {
    package var bytes = 0
    package var packets = 0
    package var dropped: UInt64 = 0

    package init(bytes: Int = 0, packets: Int = 0, dropped: UInt64 = 0) {
        self.bytes = bytes
        self.packets = packets
        self.dropped = dropped
    }
}

/// A filter on an interface's ingress.
package struct IngressFilter: Equatable, Sendable {
    /// The priority of a redirection that is there for order's sake only: the port is open, and what is held drains.
    package static let passage = UInt16.max

    /// The smaller acts first.
    package let priority: UInt16
    package let kind: String
    package let handle: UInt32

    package init(priority: UInt16, kind: String, handle: UInt32) {
        self.priority = priority
        self.kind = kind
        self.handle = handle
    }
}

/// One order to a plug, or to what leads to it.
package enum PlugOrder: Equatable, Sendable {
    /// Ends the running epoch of a device's plug (TCQ_PLUG_BUFFER).
    case cut(Int32)
    /// Lets go what the last cut ended (TCQ_PLUG_RELEASE_ONE).
    case releaseOne(Int32)
    /// Lets go everything, held or to come (TCQ_PLUG_RELEASE_INDEFINITE).
    case open(Int32)
    /// Bytes that may be held; what comes beyond is dropped.
    case limit(Int32, bytes: Int32)
    /// All that comes in at an interface goes to a device. Of several redirections the lowest priority counts.
    case redirect(interface: Int32, device: Int32, priority: UInt16)
    case endRedirect(interface: Int32, priority: UInt16)

    package func request() throws(NetlinkError) -> [UInt8] {
        switch self {
        case .cut(let device): try NetlinkRequest.changePlug(on: device, .buffer)
        case .releaseOne(let device): try NetlinkRequest.changePlug(on: device, .releaseOne)
        case .open(let device): try NetlinkRequest.changePlug(on: device, .releaseIndefinite)
        case .limit(let device, let bytes): try NetlinkRequest.changePlug(on: device, .limit(bytes))
        case .redirect(let interface, let device, let priority):
            try NetlinkRequest.redirect(
                from: interface,
                to: device,
                priority: priority,
                manner: HoldManner.chosen
            )
        case .endRedirect(let interface, let priority):
            try NetlinkRequest.endRedirect(from: interface, priority: priority)
        }
    }

    /// What it does, in words that follow "cannot".
    package var action: String {
        switch self {
        case .cut: "end an epoch's output"
        case .releaseOne: "release an epoch's output"
        case .open: "release output"
        case .limit: "limit a plug"
        case .redirect: "redirect output to a plug"
        case .endRedirect: "end the redirection of output"
        }
    }
}

/// Orders built once and given any number of times: one datagram, which the kernel works through in one go.
package final class PlugBatch {
    package static let unanswered: Int32 = -1

    package let orders: [PlugOrder]
    /// The netlink requests, back to back.
    package var bytes: [UInt8]
    /// For each order 0, the errno with which it was refused, or `unanswered`.
    package var outcomes: [Int32]
    /// The kernel's words about the last refusal.
    package var detail = ""

    package init(_ orders: [PlugOrder]) throws(NetlinkError) {
        self.orders = orders
        var bytes: [UInt8] = []
        for order in orders { bytes += try order.request() }
        self.bytes = bytes
        outcomes = [Int32](repeating: Self.unanswered, count: orders.count)
    }

    /// The first order that failed.
    package var failure: NetlinkError? {
        for (index, outcome) in outcomes.enumerated() where outcome != 0 {
            let code = outcome == Self.unanswered ? 110 : outcome  // ETIMEDOUT
            return NetlinkError(orders[index].action, code: code, detail: detail)
        }
        return nil
    }
}
