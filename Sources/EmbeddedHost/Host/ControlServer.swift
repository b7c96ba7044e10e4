import Checkpoint
import Glibc
import SystemSupport

/// The guest's end of the control channel: one controller at a time, any number of onlookers.
///
/// Whatever a controller does or however it goes, the guest is left running, and its plug as it was.
///
/// Unchecked: the variables belong to the thread that calls `run`.
final class ControlServer: @unchecked Sendable {
    /// The guest's parts that a controller works on.
    struct Guest: Sendable {
        let cpu: VirtualCPU
        let plug: Plug
        let memory: Mapping
        /// Read-only, for the controller.
        let memoryFile: Descriptor
        let description: @Sendable () -> ControlDescription
    }

    private final class Peer {
        let link: ControlLink
        var isController = false
        var received = [UInt8](repeating: 0, count: ControlMessage.size)
        var count = 0

        init(_ link: ControlLink) { self.link = link }
    }

    private let guest: Guest
    private let listener: Descriptor
    private let wake: EventFD
    private let flags = Monitor((stop: false, controller: ControlLink?.none, isTracking: false))
    private var peers: [Peer] = []
    private var tracking: WriteTracking?
    /// When the suspend request that stands came (`Clock.monotonic`).
    private var suspendedSince: UInt64?
    /// The guest lost patience with the checkpoint under way: it must not be cut.
    private var isExpired = false
    /// When to exit, whatever the controller does.
    private var endingDeadline: UInt64?
    private var isFinished = false

    /// How long a controller may keep the guest suspended.
    static let suspendLimit: UInt64 = 10_000_000_000
    /// How long a controller may take over a guest's end.
    static let endingLimit: UInt64 = 2_000_000_000
    private static let maximumPeers = 16

    init(_ guest: Guest, listener: Descriptor) throws(SystemError) {
        self.guest = guest
        self.listener = listener
        wake = try EventFD()
        try listener.setNonBlocking(true)
    }

    /// Ends the guest: the controller is told and given a little time, then `run` returns.
    func stop() {
        flags.withLock { $0.stop = true }
        wake.signal()
    }

    /// Whether there is a controller, and whether it tracks writes by the kernel.
    var status: (isControlled: Bool, isTracking: Bool) {
        flags.withLock { ($0.controller != nil, $0.isTracking) }
    }

    /// Called on the vcpu's thread when it has suspended.
    func parked(request: UInt32, registers: GuestRegisters) {
        guard let link = flags.withLock({ $0.controller }) else { return }
        let reply = ControlMessage.Reply(
            operation: .suspend,
            status: .done,
            number: request,
            length: GuestRegisters.size
        )
        link.send(reply) { registers.encode(to: $0) }
    }

    /// Serves until the guest's end.
    func run() {
        while !isFinished {
            var entries = [
                Poll.Entry(wake.descriptor.raw),
                Poll.Entry(listener.raw),
            ]
            for peer in peers {
                entries.append(Poll.Entry(peer.link.socket.raw))
            }
            Poll.wait(&entries, milliseconds: timeout())
            if entries[0].isReady { wake.drain() }
            for (index, peer) in peers.enumerated() where entries[index + 2].isReady {
                if !receive(peer) { leave(peer) }
            }
            peers.removeAll { $0.link.isClosed }
            if entries[1].isReady { accept() }
            checkDeadlines()
        }
        for peer in peers { peer.link.close() }
    }

    private func timeout() -> Int32 {
        let deadlines = [suspendedSince.map { $0 + Self.suspendLimit }, endingDeadline].compactMap { $0 }
        guard let next = deadlines.min() else { return -1 }
        let now = Clock.monotonic
        return next > now ? Int32((next - now) / 1_000_000) + 1 : 0
    }

    private func checkDeadlines() {
        let now = Clock.monotonic
        if let since = suspendedSince, now >= since + Self.suspendLimit {
            isExpired = true
            suspendedSince = nil
            guest.cpu.resume()
        }
        if endingDeadline == nil, flags.withLock({ $0.stop }) {
            guest.cpu.halt()
            endingDeadline = now + Self.endingLimit
            if let controller = flags.withLock({ $0.controller }) {
                controller.send(.init(operation: .ending, status: .done, number: 0, value: 0))
            } else {
                isFinished = true
            }
        }
        if let deadline = endingDeadline, now >= deadline { isFinished = true }
    }

    /// A few at a time: who came before is heard in between. At the limit the oldest onlooker, who has been heard,
    /// makes room, so that no number of silent ones can keep a controller out.
    private func accept() {
        for _ in 0..<Self.maximumPeers / 2 {
            guard let socket = try? TCP.accept(listener) else { return }
            guard (try? socket.setNonBlocking(true)) != nil else { continue }
            if peers.count >= Self.maximumPeers, let oldest = peers.firstIndex(where: { !$0.isController }) {
                peers.remove(at: oldest).link.close()
            }
            peers.append(Peer(ControlLink(socket)))
        }
    }

    /// Takes what has arrived. False if the peer is to be dropped: it left, or does not speak the protocol.
    private func receive(_ peer: Peer) -> Bool {
        while !peer.link.isClosed {
            let count = peer.received.withUnsafeMutableBytes {
                recv(peer.link.socket.raw, $0.baseAddress?.advanced(by: peer.count), $0.count - peer.count, 0)
            }
            if count < 0 { return errno == EAGAIN || errno == EINTR }
            guard count > 0 else { return false }
            peer.count += count
            guard peer.count == ControlMessage.size else { continue }
            peer.count = 0
            let request = peer.received.withUnsafeBytes {
                $0.baseAddress.flatMap { ControlMessage.Request($0) }
            }
            guard let request, handle(request, of: peer) else { return false }
        }
        return false
    }

    /// The peer is gone: if it was the controller, the guest runs on, and what it had shut stays shut.
    private func leave(_ peer: Peer) {
        peer.link.close()
        guard peer.isController else { return }
        peer.isController = false
        flags.withLock {
            $0.controller = nil
            $0.isTracking = false
        }
        tracking = nil
        suspendedSince = nil
        guest.cpu.resume()
        if endingDeadline != nil { isFinished = true }
    }

    // MARK: Requests

    /// False if the peer has no business asking this.
    private func handle(_ request: ControlMessage.Request, of peer: Peer) -> Bool {
        if !peer.isController {
            switch request.operation {
            case .describe: describe(request, peer, descriptors: [])
            case .attach: attach(request, peer)
            default: return false
            }
            return true
        }
        var value: UInt64 = 0
        var refusal: String?
        switch request.operation {
        case .describe:
            describe(request, peer, descriptors: [])
            return true
        case .suspend: return suspend(request, peer)
        case .resume:
            suspendedSince = nil
            guest.cpu.resume()
            return true
        case .cancel:
            suspendedSince = nil
            guest.cpu.resume()
        case .startTracking: refusal = startTracking()
        case .stopTracking:
            tracking = nil
            flags.withLock { $0.isTracking = false }
        case .cut: refusal = cut(request.argument)
        case .release: do { try guest.plug.release(epoch: request.argument) } catch { refusal = "\(error)" }
        case .releaseAll: guest.plug.releaseAll()
        case .dropAll: guest.plug.dropAll()
        case .absorb: guest.plug.absorb()
        case .held: value = UInt64(guest.plug.snapshot.heldBytes)
        case .finish: if endingDeadline != nil { isFinished = true }
        case .attach, .ending: return false
        }
        if let refusal {
            refuse(request, peer, refusal)
        } else {
            let reply = ControlMessage.Reply(
                operation: request.operation,
                status: .done,
                number: request.number,
                value: value
            )
            peer.link.send(reply)
        }
        return true
    }

    private func describe(_ request: ControlMessage.Request, _ peer: Peer, descriptors: [Descriptor]) {
        let payload = guest.description().encoded
        let reply = ControlMessage.Reply(
            operation: request.operation,
            status: .done,
            number: request.number,
            length: payload.count
        )
        peer.link.send(reply, payload: payload, descriptors: descriptors)
    }

    private func attach(_ request: ControlMessage.Request, _ peer: Peer) {
        let isFree = flags.withLock { flags in
            guard flags.controller == nil else { return false }
            flags.controller = peer.link
            return true
        }
        guard isFree else { return refuse(request, peer, "another process controls it already") }
        peer.isController = true
        isExpired = false
        describe(request, peer, descriptors: [guest.memoryFile])
        _ = guest.plug.controllerCame()
        if endingDeadline != nil {
            peer.link.send(.init(operation: .ending, status: .done, number: 0, value: 0))
        }
    }

    private func suspend(_ request: ControlMessage.Request, _ peer: Peer) -> Bool {
        if endingDeadline != nil {
            peer.link.send(.init(operation: .suspend, status: .ended, number: request.number, value: 0))
            return true
        }
        isExpired = false
        suspendedSince = Clock.monotonic
        guest.cpu.suspend(request: request.number)
        return true
    }

    private func startTracking() -> String? {
        // A second userfaultfd on the same range is refused by the kernel (EBUSY): the old one goes first.
        tracking = nil
        do { tracking = try WriteTracking(guest.memory) } catch { return "\(error)" }
        flags.withLock { $0.isTracking = true }
        return nil
    }

    private func cut(_ epoch: UInt64) -> String? {
        if isExpired { return "the guest was suspended for too long and has resumed by itself" }
        do { try guest.plug.cut(epoch: epoch) } catch { return "\(error)" }
        return nil
    }

    private func refuse(_ request: ControlMessage.Request, _ peer: Peer, _ reason: String) {
        let payload = Array(reason.utf8.prefix(ControlMessage.maximumPayload))
        let reply = ControlMessage.Reply(
            operation: request.operation,
            status: .refused,
            number: request.number,
            length: payload.count
        )
        peer.link.send(reply, payload: payload)
    }
}
