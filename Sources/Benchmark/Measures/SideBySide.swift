import Checkpoint
import SystemSupport

/// Ours, the peer and the limits on the same terms, in turns: a turn is some epochs of each.
final class SideBySide {
    /// Epochs of one turn.
    static let turn = 50

    let ours: EnginePair
    let peer: PeerPair?
    let copy: CopyLimit?
    let socket: (any TransferLimit)?

    /// What was measured of one kind of epoch.
    struct Samples {
        var ours: [EpochSample] = []
        var peer: [EpochSample] = []
        var copy: [Double] = []
        var socket: [Double] = []
    }

    /// - Parameters:
    ///   - pages: of the guests, `filled` of which hold something.
    ///   - most: pages that an epoch dirties at most; nil: no copies are measured.
    ///   - sweeps: pages of an epoch from which on ours is swept before its pause; nil: it is not.
    ///   - watch: sees our epochs go by.
    init(
        _ bench: Bench,
        _ measure: MeasureID,
        _ link: LinkKind,
        pages: Int,
        filled: Int,
        copying most: Int? = nil,
        sweepsFrom sweeps: Int? = nil,
        withSocket: Bool = false,
        watch: (any EpochWatch)? = nil
    ) throws {
        let placement = Placement.here
        ours = try EnginePair(
            link,
            pages: pages,
            filled: filled,
            interval: .microseconds(1),
            sweepsFrom: sweeps,
            watch: watch,
            placement
        )
        // libxenguest writes to a descriptor: there is no TLS in it.
        let program = link == .tls ? nil : bench.tool(PeerPair.program, for: measure)
        peer = try program.map { try PeerPair($0, link, pages: pages, filled: filled, placement) }
        copy = try most.map { try CopyLimit(pages: pages, filled: filled, most: $0, placement) }
        if !withSocket {
            socket = nil
        } else if link == .tls {
            socket = try bench.tool(TLSLimit.program, for: measure).map { try TLSLimit($0, placement) }
        } else {
            socket = try SocketLimit(link, placement)
        }
    }

    /// Measures `epochs` epochs of `pages` dirty pages of each, after a few that are thrown away; then sees that ours arrived.
    /// - Parameter spread: our guest goes on writing while it is swept, `pages` in so many microseconds.
    func measure(pages: Int, epochs: Int, seed: UInt64, spread: UInt32 = 0) throws -> Samples {
        var samples = Samples()
        let turns = max(1, (epochs + Self.turn - 1) / Self.turn)
        for turn in -1..<turns {
            let count = turn < 0 ? 5 : min(Self.turn, epochs)
            let order = EpochOrder(
                pages: pages,
                epochs: count,
                seed: seed &+ UInt64(turn + 1) &* 1_000_003,
                spread: spread
            )
            let ours = try self.ours.play(order)
            let peer = try self.peer?.play(order) ?? []
            let copy = try self.copy?.play(order) ?? []
            let socket = try self.socket?.play(order) ?? []
            guard turn >= 0 else { continue }
            samples.ours += ours
            samples.peer += peer
            samples.copy += copy
            samples.socket += socket
        }
        try ours.checkImage()
        return samples
    }

    func end() {
        ours.end()
        peer?.end()
        socket?.end()
    }
}
