import Checkpoint
import NetBuffer
import Testing

/// Random schedules of a guest with two ports, checkpoints, releases, new sessions, refusals, answers that are lost,
/// and owners that die at any call; checked after every step against what may have left.
@Suite struct PlugScheduleTests {
    @Test(arguments: 0..<300 as Range<UInt64>)
    func nothingLeavesBeforeItsReleaseAndNothingStays(seed: UInt64) throws {
        try PlugSchedule(seed: seed).run(steps: 120)
    }
}

private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

private final class PlugSchedule {
    static let names = ["vif5.0", "vif5.1"]

    let seed: UInt64
    var random: SplitMix
    let kernel = ModelKernel(PlugSchedule.names)
    var plug: NetworkPlug?
    var packet = 0
    /// Packets sent since output has been held, by port, in order, and how many of them may leave.
    var owed: [String: [Int]] = [:]
    var allowed: [String: Int] = [:]
    /// How many of them the cut covered.
    var covered: [String: Int] = [:]
    var isHeld = false
    /// The first cut was tried: whether output passes is not known.
    var mayBeHeld = false
    var epoch: UInt64 = 0
    var isCut = false
    /// It was to be opened, and was not: nothing else is asked of this owner before.
    var mustOpen = false
    var faultsLeft = 0

    init(seed: UInt64) {
        self.seed = seed
        random = SplitMix(state: seed)
        kernel.fault = { [weak self] in
            guard let self, faultsLeft > 0, Int.random(in: 0..<3, using: &random) == 0 else { return nil }
            faultsLeft -= 1
            return [.refused, .unanswered, .dead].randomElement(using: &random)
        }
    }

    func run(steps: Int) throws {
        for step in 0..<steps {
            faultsLeft = Int.random(in: 0..<4, using: &random) == 0 ? 1 : 0
            if kernel.isDeadNow { die() }
            do {
                try self.step()
            } catch is GuestError {
                // Given again below, or after the owner's death by its successor.
            }
            guard check("seed \(seed), step \(step)") else { return }
        }
        faultsLeft = 0
        if kernel.isDeadNow { die() }
        if plug == nil { try own() }
        if mustOpen { try open() }
        if isCut { try release() }
        try cut()
        try release()
        _ = plug?.heldBytes()
        guard check("seed \(seed), at the end") else { return }
        for name in Self.names {
            let sent = kernel.ports[name].flatMap { kernel.sent[$0] } ?? []
            let all = kernel.hasRefused ? sent.sorted() : sent
            #expect(all == owed[name] ?? [], "seed \(seed): \(name) keeps, loses or mixes packets")
        }
        #expect(kernel.lost.isEmpty, "seed \(seed): packets in removed devices")
    }

    func step() throws {
        guard plug != nil else { return try own() }
        if mustOpen { return try open() }
        switch Int.random(in: 0..<12, using: &random) {
        case 0..<5: send()
        case 5, 6: if isCut { try release() } else { try cut() }
        case 7: if isCut { try release() }
        case 8:
            _ = plug?.heldBytes()
        case 9 where Int.random(in: 0..<3, using: &random) == 0:
            try plug?.absorb()
            (isCut, covered) = (false, [:])
            epoch = 0
        case 10 where Int.random(in: 0..<3, using: &random) == 0: die()
        case 11 where Int.random(in: 0..<6, using: &random) == 0: try open()
        default: send()
        }
    }

    func own() throws {
        kernel.revive()
        let ports = Self.names.enumerated().map { GuestPort(interface: $1, device: $0) }
        let plug = try NetworkPlug(guest: "web1", domain: 5, ports: ports, limit: 10000, kernel: kernel)
        if isHeld { #expect(plug.wasClosed, "seed \(seed): held output is forgotten") }
        if plug.wasClosed { isHeld = true }
        try plug.absorb()
        (isCut, covered, epoch) = (false, [:], 0)
        self.plug = plug
    }

    /// The owner dies. Its object stays unused: what it would take down when it ends, it no longer can.
    func die() {
        kernel.kill()
        plug = nil
        mustOpen = false
        kernel.revive()
    }

    func send() {
        let name = Self.names[Int.random(in: 0..<2, using: &random)]
        packet += 1
        owed[name, default: []].append(packet)
        kernel.send(packet, name)
        if !isHeld { allowed[name] = owed[name]?.count }
    }

    /// All goes, and what comes too, from the order on.
    func open() throws {
        allowed = owed.mapValues(\.count)
        (isHeld, isCut, covered, epoch) = (false, false, [:], 0)
        mustOpen = true
        try plug?.releaseAll()
        mustOpen = false
    }

    func cut() throws {
        mayBeHeld = true
        try plug?.cut(epoch: epoch)
        (isHeld, isCut) = (true, true)
        covered = owed.mapValues(\.count)
    }

    func release() throws {
        // From the order on it may be carried out, whatever the answer.
        for (name, count) in covered { allowed[name] = max(allowed[name] ?? 0, count) }
        try plug?.release(epoch: epoch)
        for (name, count) in covered {
            let sent = kernel.ports[name].flatMap { kernel.sent[$0] } ?? []
            #expect(sent.count >= count, "seed \(seed): \(name) holds what was released")
        }
        isCut = false
        epoch += 1
    }

    /// Whether what has left so far may have left.
    func check(_ place: String) -> Bool {
        var right = true
        for name in Self.names {
            let sent = kernel.ports[name].flatMap { kernel.sent[$0] } ?? []
            let all = owed[name] ?? []
            let mayHaveLeft = Set(all.prefix(allowed[name] ?? 0))
            // One of several devices that is refused its order is late.
            let inOrder = kernel.hasRefused || sent == Array(all.prefix(sent.count))
            right = right && inOrder && mayHaveLeft.isSuperset(of: sent)
            #expect(inOrder, "\(place): out of order at \(name)")
            #expect(mayHaveLeft.isSuperset(of: sent), "\(place): \(name) sends before the release")
        }
        return right
    }
}
