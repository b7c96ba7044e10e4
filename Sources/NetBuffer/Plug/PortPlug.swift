/// The plug of one port: one device that the port is redirected to, and those whose turn is over or yet to come.
///
/// **Open** means: not redirected, or only by a redirection that says so by its priority
/// (`IngressFilter.passage`): the way through the device in which something is still held while it drains, so that nothing
/// newer overtakes it. So the kernel itself knows whether a port is open, and nothing that could be wrong about it is
/// written down elsewhere.
///
/// A sch_plug counts packets, not epochs, and remembers one count: what the last cut ended (linux net/sched/sch_plug.c). A
/// second cut before a release forgets the first's, and then some packets never leave. So a cut may only be given to
/// a device whose counts are known: made by this owner, and with no cut outstanding. In every other case (the first cut,
/// a predecessor's device, a cut that was never released, an answer that never came) the port is **turned over** to a
/// fresh device: everything sent before is in the older devices, which are then opened as a whole, and
/// everything sent after is in the new one. That is exact without knowing any count, and it drops nothing.
final class PortPlug {
    /// How the epoch that is closed was ended here.
    enum Cut {
        /// By its count, in the current device.
        case counted
        /// By turning over: all of it is in the sealed devices.
        case turned
    }

    /// The first redirection's priority; each later one's is one less, so that it counts at once.
    private static let firstPriority: UInt16 = 256

    let port: GuestPort
    private let domain: UInt32
    /// Bytes that may be held.
    private let limit: Int32
    private let kernel: any PlugKernel

    /// The port's interface, 0 once it is gone.
    private(set) var interface: Int32 = 0
    /// Where the port is redirected to, to be held; nil while it is open.
    private(set) var current: Int32?
    /// The current device's counts are known, and none of its cuts is outstanding.
    private(set) var isExact = false
    /// How the closed epoch was ended; nil while none is closed.
    private(set) var cut: Cut?
    /// What is held from before the last turn, oldest first.
    private(set) var sealed: [Int32] = []
    /// A device that nothing leads to yet.
    private var spare: Int32?
    /// Opened for good, and not empty yet.
    private var draining: [Int32] = []
    /// The one of them that what comes still goes through, behind what is in it.
    private var passage: Int32?
    private var priorities: [UInt16] = []
    private var letters: [Int32: Character] = [:]
    /// An order's fate is unknown: what the kernel has must be read again.
    private var isUncertain = false
    private var dropsSeen: [Int32: UInt64] = [:]
    /// Packets dropped by devices that are gone.
    private var pastDrops: UInt64 = 0

    init(_ port: GuestPort, domain: UInt32, limit: Int32, kernel: any PlugKernel) {
        self.port = port
        self.domain = domain
        self.limit = limit
        self.kernel = kernel
    }

    /// Every device that holds, oldest first.
    private var holding: [Int32] { sealed + (current.map { [$0] } ?? []) }

    /// Packets that were dropped: no room, or no device left for them.
    var drops: UInt64 { pastDrops + dropsSeen.values.reduce(0, +) }

    // MARK: What is there

    /// Takes over what a predecessor, or an order of unknown fate, left. Nothing held is lost.
    func adopt() throws(NetlinkError) {
        let interfaces = try kernel.interfaces()
        interface = interfaces.first { $0.name == port.interface }?.index ?? 0
        var devices: [Int32] = []
        letters = [:]
        for candidate in interfaces {
            guard let name = HoldName(candidate.name), name.isOf(port, domain: domain) else { continue }
            devices.append(candidate.index)
            letters[candidate.index] = name.letter
        }
        // The kernel numbers devices in the order in which they are made.
        devices.sort()
        try readRedirections(among: devices)
        isExact = false
        cut = nil
        spare = nil
        draining = []
        sealed = []
        // One that leads to the passage, and is overruled, does not make it so.
        if current != nil { passage = nil }
        for device in devices where device != current {
            guard let contents = try kernel.contents(of: device) else {
                // Half made.
                try remove(device)
                continue
            }
            // Of an open port nothing is held on anybody's behalf: a predecessor let it go. One that is gone was not opened by that.
            let isHeld = current != nil || interface == 0
            if isHeld, contents.packets > 0 { sealed.append(device) } else { draining.append(device) }
        }
        if current == nil, !draining.isEmpty {
            try kernel.perform(try PlugBatch(draining.map { .open($0) }))
        }
        isUncertain = false
    }

    private func readRedirections(among devices: [Int32]) throws(NetlinkError) {
        (current, passage, priorities) = (nil, nil, [])
        guard interface != 0 else { return }
        for filter in try kernel.filters(of: interface) {
            guard filter.kind == "matchall", let device = Int32(exactly: filter.handle),
                devices.contains(device)
            else { throw NetlinkError(foreign("a \(filter.kind) filter"), code: 16) }  // EBUSY
            if filter.priority == IngressFilter.passage {
                passage = device
            } else if current == nil {
                current = device
            }
            priorities.append(filter.priority)
        }
    }

    private func foreign(_ what: String) -> String {
        "hold the output of \(port.interface), whose ingress has \(what) that is not remusd's"
    }

    /// Makes everything that the next turn needs, so that it costs one order. Outside of a pause.
    func prepare() throws(NetlinkError) {
        if isUncertain { try recover() }
        guard interface != 0 else { return }
        try endFormerRedirections()
        try renewPriority()
        guard spare == nil else { return }
        let kind = try kernel.readyIngress(of: interface)
        guard kind == "ingress" else { throw NetlinkError(foreign("a \(kind) qdisc"), code: 16) }  // EBUSY
        if current == nil { try refuseForeignFilters() }
        let device = try makeDevice()
        spare = device
        // A redirection that nothing will ever take: it loads what the real one needs, or says what is missing.
        _ = try kernel.readyIngress(of: device)
        try kernel.perform(try PlugBatch([.redirect(interface: device, device: device, priority: 1)]))
        try kernel.removeIngress(of: device)
    }

    /// Starts to count down again, with the same device, before there is no lower priority left.
    private func renewPriority() throws(NetlinkError) {
        guard let current, let priority = priorities.first, priority <= 2 else { return }
        let first = Self.firstPriority
        try kernel.perform(
            try PlugBatch([.redirect(interface: interface, device: current, priority: first)])
        )
        priorities.append(first)
        try endRedirection(priority)
    }

    private func refuseForeignFilters() throws(NetlinkError) {
        for filter in try kernel.filters(of: interface) where filter.priority != IngressFilter.passage {
            throw NetlinkError(foreign("a \(filter.kind) filter"), code: 16)  // EBUSY
        }
    }

    private func makeDevice() throws(NetlinkError) -> Int32 {
        // There is always a free letter, at worst at the price of what has been held for longest.
        while Set(letters.values).count == HoldName.letters.count {
            let device = draining.isEmpty ? sealed.removeFirst() : draining.removeFirst()
            pastDrops += UInt64(try kernel.contents(of: device)?.packets ?? 0)
            try remove(device)
        }
        guard let letter = HoldName.letters.first(where: { !letters.values.contains($0) }) else {
            preconditionFailure("a letter is free")
        }
        let name = HoldName(domain: domain, port: port, letter: letter)
        let device = try kernel.makeDevice(name.description, alias: port.interface, limit: limit)
        letters[device] = letter
        return device
    }

    private func remove(_ device: Int32) throws(NetlinkError) {
        if device == passage { try endRedirection(IngressFilter.passage) }
        try kernel.removeDevice(device)
        letters[device] = nil
        pastDrops += dropsSeen.removeValue(forKey: device) ?? 0
    }

    private func recover() throws(NetlinkError) {
        let wasCut = cut
        try adopt()
        // A closed epoch stays closed: its output is among what is held, and must not be cut by count.
        cut = wasCut
        if wasCut == .counted { isExact = false }
    }

    // MARK: Orders

    /// The order that ends the running epoch by its count; nil if the port must be turned over.
    var cutByCount: PlugOrder? {
        guard let current, isExact, cut == nil, !isUncertain else { return nil }
        return .cut(current)
    }

    /// `cutByCount` was given, with this outcome.
    func didCut(_ outcome: Int32) {
        if outcome == 0 { cut = .counted } else { isExact = false }
    }

    /// The order that turns the port over to a fresh device; nil if the port is gone. `didTurn` follows.
    func turn() throws(NetlinkError) -> PlugOrder? {
        try prepare()
        guard interface != 0, let spare else { return nil }
        return .redirect(interface: interface, device: spare, priority: nextPriority)
    }

    private var nextPriority: UInt16 { min(priorities.min() ?? .max, Self.firstPriority + 1) - 1 }

    /// `turn` was given, with this outcome; nil if it had no order, because the port is gone and sends nothing.
    func didTurn(_ outcome: Int32?) {
        guard let outcome else {
            cut = .turned
            return
        }
        guard outcome == 0, let turned = spare else {
            // The interface may have gone at this moment; reading it again tells.
            isUncertain = true
            return
        }
        priorities.append(nextPriority)
        if let current { sealed.append(current) }
        current = turned
        spare = nil
        isExact = true
        cut = .turned
    }

    /// Ends the redirections that a newer one overrules. Never in one batch with that: if it were refused, the port
    /// would be open.
    func endFormerRedirections() throws(NetlinkError) {
        guard priorities.count > 1, let newest = priorities.min() else { return }
        for priority in priorities where priority != newest {
            try endRedirection(priority)
        }
    }

    /// Ends one redirection; one that is not there has been ended by an order whose answer was lost.
    private func endRedirection(_ priority: UInt16) throws(NetlinkError) {
        do {
            try kernel.perform(try PlugBatch([.endRedirect(interface: interface, priority: priority)]))
        } catch {
            if !error.isAbsence { throw error }
        }
        priorities.removeAll { $0 == priority }
        if priority == IngressFilter.passage { passage = nil }
    }

    /// The orders that let the closed epoch go.
    func release() throws(NetlinkError) -> [PlugOrder] {
        if isUncertain { try recover() }
        guard let cut else { return [] }
        var orders = sealed.map { PlugOrder.open($0) }
        if cut == .counted, isExact, let current { orders.append(.releaseOne(current)) }
        return orders
    }

    /// `release` was given and carried out.
    func didRelease() {
        guard cut != nil else { return }
        draining += sealed
        sealed = []
        cut = nil
    }

    /// What is held belongs to the epoch that is cut next.
    func absorb() {
        if cut == .counted { isExact = false }
        cut = nil
    }

    /// Opens the port: everything goes, and nothing is held any more. What comes goes behind what is held, until that has
    /// drained. The redirections that hold end first, and nothing is let go if that fails: a port is never redirected to
    /// an open plug in a way that a successor would take for a closed one.
    func open() throws(NetlinkError) {
        if isUncertain { try recover() }
        isUncertain = true
        if let current { try layPassage(through: current) }
        // The one that counts is the last to go: until then the port is redirected to where it was.
        for priority in priorities.sorted(by: >) where priority != IngressFilter.passage {
            try endRedirection(priority)
        }
        isUncertain = false
        passage = current ?? passage
        sealed = holding
        current = nil
        if !sealed.isEmpty { try kernel.perform(try PlugBatch(sealed.map { .open($0) })) }
        draining += sealed
        sealed = []
        cut = nil
    }

    /// Redirects to a device in the way that counts last, and says that the port is open once no other is left.
    private func layPassage(through device: Int32) throws(NetlinkError) {
        let priority = IngressFilter.passage
        // One that is left leads to another device, or is not known to lead to this one.
        if priorities.contains(priority) { try endRedirection(priority) }
        // One that dropped all that came lets it through from now on.
        let limit = PlugOrder.limit(device, bytes: limit)
        let redirect = PlugOrder.redirect(interface: interface, device: device, priority: priority)
        try kernel.perform(try PlugBatch([limit, redirect]))
        priorities.append(priority)
    }

    /// Drops everything held and all that comes.
    func drop() throws(NetlinkError) {
        try prepare()
        if let spare { try kernel.perform(try PlugBatch([.limit(spare, bytes: 0)])) }
        try turnAway()
        cut = nil
        isExact = false
        try discardSealed()
    }

    /// What is held so far is on sealed devices, and what comes goes to another one.
    private func turnAway() throws(NetlinkError) {
        if let order = try turn() {
            let batch = try PlugBatch([order])
            defer { didTurn(batch.outcomes[0]) }
            try kernel.perform(batch)
        } else if let current {
            sealed.append(current)
            self.current = nil
        }
    }

    private func discardSealed() throws(NetlinkError) {
        while let device = sealed.first {
            pastDrops += UInt64(try kernel.contents(of: device)?.packets ?? 0)
            try remove(device)
            sealed.removeFirst()
        }
        try endFormerRedirections()
    }

    // MARK: Coming and going

    /// Holds what the port sends from now on, as part of the running epoch: for one that comes to others that hold already.
    func join() throws(NetlinkError) {
        guard current == nil, let order = try turn() else { return }
        let batch = try PlugBatch([order])
        defer {
            didTurn(batch.outcomes[0])
            // Of the epoch that may be closed at this moment it has sent nothing.
            cut = nil
        }
        try kernel.perform(batch)
    }

    /// Drops what is held, and goes on holding what comes: for an interface that is being taken away, and that cannot go as long
    /// as its packets are held.
    func empty() throws(NetlinkError) {
        if isUncertain { try recover() }
        var held = 0
        for device in holding {
            held += try kernel.contents(of: device)?.packets ?? 0
        }
        guard held > 0 else { return }
        let wasCut = cut != nil
        try turnAway()
        // Nothing of a closed epoch is left to be released.
        cut = wasCut ? .turned : nil
        try discardSealed()
    }

    /// Whether the interface that this plug was made for is there.
    func isThere() throws(NetlinkError) -> Bool {
        guard interface != 0 else { return false }
        return try kernel.interfaces().contains { $0.index == interface && $0.name == port.interface }
    }

    /// Removes every device, with what it holds: the interface is gone.
    func abandon() throws(NetlinkError) {
        sealed = holding + draining
        (current, passage, draining, priorities, interface) = (nil, nil, [], [], 0)
        (cut, isExact, isUncertain) = (nil, false, false)
        try discardSealed()
        if let spare { try remove(spare) }
        spare = nil
    }

    /// What is there must be read again: something that was there is not.
    func doubt() { isUncertain = true }

    // MARK: Upkeep

    /// What is held on the guest's behalf. Removes what has drained meanwhile.
    func held() throws(NetlinkError) -> PlugContents {
        var held = PlugContents()
        fill = 0
        for device in holding {
            guard let contents = try kernel.contents(of: device) else { continue }
            held.bytes += contents.bytes
            held.packets += contents.packets
            dropsSeen[device] = contents.dropped
            if device == current { fill = contents.bytes * 100 / Int(max(limit, 1)) }
        }
        try reap()
        return held
    }

    /// How full the device is that holds what comes, in per cent of its limit, as `held` read it last.
    private(set) var fill = 0

    /// Removes the devices that were opened and have drained; the passage is the last, and goes at the look after the one that ends the
    /// redirection to it.
    /// - Returns: whether all have gone.
    @discardableResult
    func reap() throws(NetlinkError) -> Bool {
        for device in draining {
            if let contents = try kernel.contents(of: device) {
                dropsSeen[device] = contents.dropped
                guard contents.packets == 0, try kernel.isDrained(device) else { continue }
            }
            if device == passage {
                if draining.count == 1 { try endRedirection(IngressFilter.passage) }
                continue
            }
            try remove(device)
            draining.removeAll { $0 == device }
        }
        return draining.isEmpty
    }

    /// Removes everything of an open port, drained or not. A closed one keeps its devices.
    func takeDown() throws(NetlinkError) {
        if let spare { try remove(spare) }
        spare = nil
        guard current == nil else { return }
        for device in draining { try remove(device) }
        draining = []
        guard interface != 0, try kernel.filters(of: interface).isEmpty else { return }
        try kernel.removeIngress(of: interface)
    }
}
