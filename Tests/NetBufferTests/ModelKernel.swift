import NetBuffer

/// A kernel with ports, redirections and plugs, and packets that are numbers. Plugs behave as those of linux
/// net/sched/sch_plug.c do: they count packets, and remember one count.
final class ModelKernel: PlugKernel {
    struct Plug {
        var queue: [Int] = []
        var limit: Int32 = 0
        var current = 0
        var last = 0
        var toRelease = 0
        var passes = false
        var dropped: UInt64 = 0

        /// Takes a packet of one byte.
        mutating func enqueue(_ packet: Int) {
            guard queue.count + 1 <= limit else {
                dropped += 1
                return
            }
            if !passes { current += 1 }
            queue.append(packet)
        }

        mutating func dequeue() -> [Int] {
            let count = passes ? queue.count : min(toRelease, queue.count)
            if !passes { toRelease -= count }
            defer { queue.removeFirst(count) }
            return Array(queue[..<count])
        }
    }

    /// How a call fails.
    enum Fault { case refused, unanswered, dead }

    var ports: [String: Int32] = [:]
    var devices: [Int32: (name: String, alias: String, plug: Plug)] = [:]
    var redirections: [Int32: [UInt16: Int32]] = [:]
    var ingress: [Int32: String] = [:]
    var foreign: [Int32: IngressFilter] = [:]
    /// What left, by port.
    var sent: [Int32: [Int]] = [:]
    /// Packets in devices that were removed.
    var lost: [Int] = []
    var calls = 0
    var batches: [[PlugOrder]] = []
    /// Told after each order that was carried out: what the guest does while an owner works.
    var afterOrder: (PlugOrder) -> Void = { _ in }
    /// What is let go leaves when `settle` says so: the kernel needs time for it.
    var isSlow = false
    /// Asked before each call that changes something.
    var fault: () -> Fault? = { nil }
    /// An order of a batch was refused, and others of it were not.
    private(set) var hasRefused = false
    private var isDead = false
    private var nextIndex: Int32 = 10
    private var origin: [Int: Int32] = [:]

    init(_ names: [String]) { for name in names { addPort(name) } }

    func addPort(_ name: String) {
        ports[name] = nextIndex
        nextIndex += 1
    }

    /// The process that calls has died: nothing it asks for is done any more.
    var isDeadNow: Bool { isDead }
    func kill() { isDead = true }
    func revive() { isDead = false }

    /// The guest sends a packet.
    func send(_ packet: Int, _ name: String) {
        guard let port = ports[name] else { return }
        origin[packet] = port
        guard let device = redirections[port]?.min(by: { $0.key < $1.key })?.value else {
            return sent[port, default: []].append(packet)
        }
        devices[device]?.plug.enqueue(packet)
        drain(device)
    }

    /// All that was let go leaves.
    func settle() { for device in devices.keys.sorted() { leave(device) } }

    private func drain(_ device: Int32) {
        if !isSlow { leave(device) }
    }

    private func leave(_ device: Int32) {
        for packet in devices[device]?.plug.dequeue() ?? [] {
            if let port = origin[packet] { sent[port, default: []].append(packet) }
        }
    }

    // MARK: PlugKernel

    func interfaces() -> [NetInterface] {
        ports.map { NetInterface(name: $0.key, index: $0.value, kind: "vif", alias: "", master: 0) }
            + devices.map {
                NetInterface(name: $1.name, index: $0, kind: "ifb", alias: $1.alias, master: 0)
            }
    }

    func makeDevice(_ name: String, alias: String, limit: Int32) throws(NetlinkError) -> Int32 {
        try change()
        guard !devices.values.contains(where: { $0.name == name }) else {
            throw NetlinkError("make \(name)", code: 17)
        }
        nextIndex += 1
        devices[nextIndex] = (name, alias, Plug(limit: limit))
        return nextIndex
    }

    func removeDevice(_ index: Int32) throws(NetlinkError) {
        try change()
        lost += devices.removeValue(forKey: index)?.plug.queue ?? []
    }

    func silence(_ device: Int32) throws(NetlinkError) {
        try change()
        lost += devices[device]?.plug.queue ?? []
        devices[device]?.plug.queue = []
        devices[device]?.plug.limit = 0
    }

    func received(at interface: Int32) -> UInt64 {
        UInt64(origin.values.filter { $0 == interface }.count)
    }

    func contents(of device: Int32) throws(NetlinkError) -> PlugContents? {
        if isDead { throw NetlinkError("ask", code: 110) }
        return devices[device].map {
            PlugContents(
                bytes: $0.plug.queue.count,
                packets: $0.plug.queue.count,
                dropped: $0.plug.dropped
            )
        }
    }

    func isDrained(_ device: Int32) -> Bool { true }

    func readyIngress(of interface: Int32) throws(NetlinkError) -> String {
        try change()
        if let kind = ingress[interface] { return kind }
        ingress[interface] = "ingress"
        return "ingress"
    }

    func removeIngress(of interface: Int32) throws(NetlinkError) {
        try change()
        ingress[interface] = nil
        redirections[interface] = nil
    }

    func filters(of interface: Int32) throws(NetlinkError) -> [IngressFilter] {
        if isDead { throw NetlinkError("ask", code: 110) }
        return (foreign[interface].map { [$0] } ?? [])
            + (redirections[interface] ?? [:]).sorted { $0.key < $1.key }.map {
                IngressFilter(priority: $0.key, kind: "matchall", handle: UInt32($0.value))
            }
    }

    func perform(_ batch: PlugBatch) throws(NetlinkError) {
        batches.append(batch.orders)
        calls += 1
        for index in batch.outcomes.indices { batch.outcomes[index] = PlugBatch.unanswered }
        let fault = isDead ? .dead : fault()
        if fault == .dead { isDead = true }
        for (index, order) in batch.orders.enumerated() {
            if fault == .refused, index == batch.orders.count / 2 {
                batch.outcomes[index] = 12
                hasRefused = true
                continue
            }
            // One that dies has given the whole batch, or nothing of it.
            if fault == .dead, calls % 2 == 0 { break }
            let outcome = carryOut(order)
            afterOrder(order)
            if fault == nil || fault == .refused { batch.outcomes[index] = outcome }
        }
        if let failure = batch.failure { throw failure }
    }

    private func carryOut(_ order: PlugOrder) -> Int32 {
        switch order {
        case .redirect(let interface, let device, let priority):
            guard ingress[interface] != nil, devices[device] != nil else { return 22 }
            guard redirections[interface]?[priority] == nil, priority > 0 else { return 17 }
            redirections[interface, default: [:]][priority] = device
            return 0
        case .endRedirect(let interface, let priority):
            return redirections[interface]?.removeValue(forKey: priority) == nil ? 2 : 0
        case .cut(let device):
            return work(device) {
                $0.last = $0.current
                $0.current = 0
                $0.passes = false
            }
        case .releaseOne(let device):
            return work(device) {
                $0.toRelease += $0.last
                $0.last = 0
            }
        case .open(let device):
            return work(device) {
                $0.passes = true
                ($0.toRelease, $0.last, $0.current) = (0, 0, 0)
            }
        case .limit(let device, let bytes): return work(device) { $0.limit = bytes }
        }
    }

    private func work(_ device: Int32, _ change: (inout Plug) -> Void) -> Int32 {
        guard devices[device] != nil else { return 19 }
        if var plug = devices[device]?.plug {
            change(&plug)
            devices[device]?.plug = plug
        }
        drain(device)
        return 0
    }

    private func change() throws(NetlinkError) {
        calls += 1
        let fault = isDead ? .dead : fault()
        if fault == .dead { isDead = true }
        if fault != nil { throw NetlinkError("change", code: 12) }
    }
}
