import Checkpoint
import NetBuffer
import SystemSupport
import XenHost

/// The output of a Xen guest: the kernel's plug over all of its network cards, those that come later too.
///
/// A card that appears is taken in as soon as its interface is there (RTM_NEWLINK). One that is being taken away has what is held of it
/// dropped: those packets are of no committed epoch, and as long as they are held the interface cannot go, and the host's thread
/// for xenstore (xenwatch) waits for it, and with it every other guest.
final class XenOutput: OutputBuffer {
    /// How long a card that closes may still wait for the release of what it sent, in nanoseconds.
    static let grace: UInt64 = 1_000_000_000

    let wasClosed: Bool
    private let plug: NetworkPlug
    private let watch: CardWatch
    private let links: LinkWatch
    private let readiness: Epoll
    private let interval: TimeSpan
    /// Since when a card closes, by number.
    private var closing: [Int: UInt64] = [:]
    /// How often what is not settled (`closing`, `unheld`) is looked at again, in nanoseconds.
    private static let patience: UInt64 = 100_000_000
    private var readAt: UInt64 = 0
    /// Interfaces whose output cannot be held, and why.
    private var unheld: [String: String] = [:]
    /// Something may have changed that was not looked at yet.
    private var isDue = true
    private var lookedAt = Clock.monotonic
    private var toldFoundOpen = false

    /// Holds nothing before the first cut, but what a predecessor held.
    init(_ guest: FoundGuest, _ cards: [GuestDevices.Card], interval: TimeSpan) throws {
        self.interval = interval
        do {
            links = try LinkWatch()
        } catch {
            throw GuestError(guest: guest.name, reason: "\(error)")
        }
        watch = try CardWatch(guest)
        readiness = try Epoll()
        try readiness.add(raw: links.descriptor, .readable, token: 0)
        try readiness.add(raw: watch.descriptor, .readable, token: 1)
        plug = try NetworkPlug(
            guest: guest.name,
            domain: guest.domain,
            ports: cards.flatMap { CardPorts.ports(of: $0, interval: interval) }
        )
        wasClosed = plug.wasClosed
    }

    // MARK: Orders

    func cut(epoch: UInt64) throws(GuestError) { try plug.cut(epoch: epoch) }
    func release(epoch: UInt64) throws(GuestError) { try plug.release(epoch: epoch) }
    func absorb() throws(GuestError) { try plug.absorb() }
    func releaseAll() throws(GuestError) { try plug.releaseAll() }
    func dropAll() throws(GuestError) { try plug.dropAll() }
    func heldBytes() -> Int { plug.heldBytes() }
    func held() -> HeldOutput { plug.held() }
    func close() { plug.close() }

    // MARK: Cards

    var eventDescriptor: Int32 { readiness.descriptor.raw }

    var leaks: [String] { unheld.isEmpty ? [] : unheld.keys.sorted().compactMap { unheld[$0] } }

    func attend() -> [String] {
        let now = Clock.monotonic
        defer { lookedAt = now }
        if Poll.wait(eventDescriptor, milliseconds: 0) {
            let heard = links.drain()
            isDue = watch.drain() || heard || isDue
        }
        if !toldFoundOpen, !plug.foundOpen.isEmpty {
            toldFoundOpen = true
            return [
                "\(plug.foundOpen.joined(separator: ", ")) appeared while nobody was there to hold what it sends; it is held from now on"
            ]
        }
        let isUnsettled = !closing.isEmpty || !unheld.isEmpty
        guard isDue || isUnsettled && now - readAt >= Self.patience, let cards = watch.cards() else {
            return []
        }
        isDue = false
        readAt = now
        var notices: [String] = []
        let ports = cards.filter { $0.standing != .torn }
            .flatMap { CardPorts.ports(of: $0.card, interval: interval) }
        for port in ports { takeIn(port, now, &notices) }
        let names = Set(ports.map(\.interface))
        unheld = unheld.filter { names.contains($0.key) }
        closing = closing.filter { number, _ in
            cards.contains { $0.card.device == number && $0.standing != .serves }
        }
        for port in plug.interfaces {
            let standing = cards.first { $0.card.device == port.device }?.standing ?? .torn
            letGo(port, standing, now, &notices)
        }
        return notices
    }

    private func takeIn(_ port: GuestPort, _ now: UInt64, _ notices: inout [String]) {
        do throws(GuestError) {
            let exposed = try plug.join(port)
            unheld[port.interface] = nil
            guard let packets = exposed else { return }
            let window = (Clock.monotonic - lookedAt) / 1_000_000
            notices.append(
                "\(port.interface) appeared while the guest is protected, and its output is held from now on; "
                    + "\(packets) packets of it got past before, within the last \(window) ms at most"
            )
        } catch {
            let words = "NOT PROTECTED: what \(port.interface) sends is NOT HELD: \(error.reason)"
            if unheld[port.interface] == nil { notices.append(words) }
            unheld[port.interface] = words
        }
    }

    private func letGo(
        _ port: GuestPort,
        _ standing: CardWatch.Standing,
        _ now: UInt64,
        _ notices: inout [String]
    ) {
        guard standing != .serves else { return }
        let since = closing[port.device] ?? now
        closing[port.device] = since
        guard standing == .torn || now - since >= Self.grace else { return }
        do throws(GuestError) {
            let before = plug.drops
            if standing == .torn, try plug.forget(port.interface) {
                closing[port.device] = nil
            } else {
                try plug.empty(port.interface)
            }
            if plug.drops > before {
                notices.append(
                    "\(port.interface) is being taken away: \(plug.drops - before) packets that were not committed are dropped"
                )
            }
        } catch {
            notices.append("what is held of \(port.interface) cannot be dropped: \(error.reason)")
        }
    }
}
