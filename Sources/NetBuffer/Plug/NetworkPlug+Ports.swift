import Checkpoint

/// Interfaces that come and go while their guest is protected.
extension NetworkPlug {
    /// The interfaces that are looked after.
    package var interfaces: [GuestPort] { ports.map(\.port) }

    /// Takes in an interface that appears while the guest is protected: what it sends is held from now on, if output is.
    /// - Returns: how many packets had got past before; nil if the interface is not there yet, or was taken in before, or if output is
    ///   not held.
    package func join(_ port: GuestPort) throws(GuestError) -> UInt64? {
        var exposed: UInt64?
        try attempt { () throws(NetlinkError) in
            let known = ports.first { $0.port.interface == port.interface }
            if let known {
                if try known.isThere() { return }
                // Another interface of the same name: what is held of the one before has nowhere to go.
                try known.abandon()
            }
            let plug = known ?? Self.plug(port, domain, limit, kernel)
            try plug.adopt()
            guard plug.interface != 0 else { return }
            steady = nil
            try plug.prepare()
            if isHolding {
                try enter(plug)
                exposed = try kernel.received(at: plug.interface)
            }
            if known == nil { ports.append(plug) }
        }
        return exposed
    }

    /// Closes a port, as the others are.
    func enter(_ port: PortPlug) throws(NetlinkError) {
        if closed == .dropping { try port.drop() } else { try port.join() }
    }

    /// Drops what is held of an interface that is being taken away; what comes is still held.
    package func empty(_ interface: String) throws(GuestError) {
        guard closed != .dropping else { return }
        try attempt { () throws(NetlinkError) in
            for port in ports where port.port.interface == interface { try port.empty() }
        }
    }

    /// Forgets an interface that is gone, with its devices.
    /// - Returns: false if it is there still.
    package func forget(_ interface: String) throws(GuestError) -> Bool {
        var isForgotten = true
        try attempt { () throws(NetlinkError) in
            for port in ports where port.port.interface == interface {
                if try port.isThere() {
                    isForgotten = false
                    continue
                }
                steady = nil
                try port.abandon()
                pastDrops += port.drops
                ports.removeAll { $0 === port }
            }
        }
        return isForgotten
    }
}
