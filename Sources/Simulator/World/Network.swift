import Checkpoint

/// What travels on a connection, in order.
enum Frame {
    case message(Message, session: UInt64)
    /// Pages of an epoch; each piece has a number of its own.
    case piece(Int, session: UInt64, epoch: UInt64)
    case epochEnd(UInt64, EpochEnd, session: UInt64, Truth)
    case fin
}

/// What a whole epoch really is. Nobody in the product knows; the promises are judged by it.
struct Truth {
    var copy: GuestCopy
    /// The newest number that the guest's state knows.
    var knows: Int
    /// The pieces that its image cannot do without.
    var pieces: [Int]
}

/// One direction between two hosts.
struct Wire {
    /// Nothing arrives before.
    var cutUntil = Instant(nanoseconds: 0)
    /// The longest time that anything takes, in milliseconds.
    var slowness: UInt64 = 3
    /// Frames are lost, doubled and damaged.
    var isDirty = false
}

/// A connection. What was sent arrives in order, late if the wire is cut; and, unlike with TCP, on a dirty wire it may
/// get lost, or come twice: the promises do not rest on the transport.
final class Connection {
    let number: ConnectionID
    unowned let world: World
    let primary: Int, standby: Int
    private(set) var client: PrimaryDriver?
    private(set) var server: StandbyDriver?
    private var isOpen = true
    private var toStandby: [(due: Instant, frame: Frame)] = [], toPrimary: [(due: Instant, frame: Frame)] = []

    /// Begins to connect; the client is told what comes of it, unless nothing does.
    init(_ number: ConnectionID, from client: PrimaryDriver, to standby: Int) {
        self.number = number
        world = client.world
        self.client = client
        primary = client.host.index
        self.standby = standby
        connect()
    }

    private func wire(toStandby: Bool) -> Wire {
        toStandby ? world.wires[primary][standby] : world.wires[standby][primary]
    }

    private func latency(toStandby: Bool) -> TimeSpan {
        .microseconds(world.random(100...wire(toStandby: toStandby).slowness * 1000))
    }

    private func connect() {
        world.after(latency(toStandby: true)) { [self] in
            guard wire(toStandby: true).cutUntil <= world.now, world.hosts[standby].isUp else { return }
            let daemon = world.hosts[standby].standby
            world.after(latency(toStandby: false)) { [self] in
                guard wire(toStandby: false).cutUntil <= world.now, let client else { return }
                guard let daemon, daemon.isAlive else {
                    self.client = nil
                    return client.whenRunning { client.connectFailed(self) }
                }
                server = daemon
                daemon.accept(self)
                client.whenRunning { client.connected(self) }
            }
        }
    }

    func sendToStandby(_ frame: Frame) { send(frame, toStandby: true) }
    func sendToPrimary(_ frame: Frame) { send(frame, toStandby: false) }

    /// The primary's end is closed, or its process gone.
    func closeByPrimary() {
        client = nil
        toPrimary.removeAll()
        if isOpen { send(.fin, toStandby: true) }
    }

    func closeByStandby() {
        server = nil
        toStandby.removeAll()
        if isOpen { send(.fin, toStandby: false) }
    }

    /// A host has gone dark: the other end is not told.
    func goDark() {
        isOpen = false
        (client, server) = (nil, nil)
        toStandby.removeAll()
        toPrimary.removeAll()
    }

    /// Both ends see it end, as far as they can.
    func reset() {
        closeByPrimarySide()
        closeByStandby()
    }

    private func closeByPrimarySide() {
        guard let server else { return }
        toStandby.removeAll()
        self.server = nil
        server.whenRunning { server.receive(.fin, on: self) }
    }

    private func send(_ frame: Frame, toStandby up: Bool) {
        let wire = wire(toStandby: up)
        var copies = 1
        if wire.isDirty, world.chance(12) {
            if case .fin = frame {
            } else {
                copies = world.chance(2) ? 0 : 2
                world.coverage.fault(copies == 0 ? .frameLost : .frameDoubled)
            }
        }
        for _ in 0..<copies {
            let last = up ? toStandby.last?.due : toPrimary.last?.due
            let due = max(world.now + latency(toStandby: up), last ?? world.now)
            if up { toStandby.append((due, frame)) } else { toPrimary.append((due, frame)) }
            if last == nil { arrange(due, toStandby: up) }
        }
    }

    private func arrange(_ due: Instant, toStandby up: Bool) {
        world.at(due) { [self] in
            let cutUntil = wire(toStandby: up).cutUntil
            guard cutUntil <= world.now else {
                // Sent again when the wire is whole.
                return arrange(cutUntil + .milliseconds(world.random(1...200)), toStandby: up)
            }
            guard !(up ? toStandby : toPrimary).isEmpty else { return }
            let frame = up ? toStandby.removeFirst().frame : toPrimary.removeFirst().frame
            if let next = up ? toStandby.first : toPrimary.first {
                arrange(max(next.due, world.now), toStandby: up)
            }
            if up {
                server?.whenRunning { [self] in server?.receive(frame, on: self) }
            } else {
                client?.whenRunning { [self] in client?.receive(frame, on: self) }
            }
        }
    }
}
