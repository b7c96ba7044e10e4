import Checkpoint
import Glibc
import Synchronization
import SystemSupport

/// What an embedded guest is started with.
package struct EmbeddedGuestConfiguration: Sendable {
    package var name: String
    package var uuid: GuestUUID
    /// RAM, in bytes: 16 MiB to 8 GiB, whole pages.
    package var memoryBytes: Int
    /// Where its clients reach it; port 0 lets the kernel choose.
    package var listen: SocketAddress
    /// Holds its control socket and lock file; must exist.
    package var runtimeDirectory: String
    /// The most output that is held before the guest is asked nothing more, in bytes.
    package var heldLimit = 64 << 20
    /// An image to run on instead of empty RAM: its memory file, taken over, and its registers.
    package var adopted: (memory: Descriptor, registers: GuestRegisters)?

    package static let memoryRange = 16 << 20...8 << 30

    package init(
        name: String,
        uuid: GuestUUID,
        memoryBytes: Int,
        listen: SocketAddress,
        runtimeDirectory: String
    ) {
        self.name = name
        self.uuid = uuid
        self.memoryBytes = memoryBytes
        self.listen = listen
        self.runtimeDirectory = runtimeDirectory
    }
}

/// An embedded guest at one moment.
package struct EmbeddedGuestSnapshot: Sendable {
    package enum State: String, Sendable { case running, suspended }

    package var name: String
    package var uuid: GuestUUID
    package var pid: Int32
    /// Where its clients reach it.
    package var address: String
    package var memoryBytes: Int
    /// Of that, what is backed by memory.
    package var populatedBytes: Int
    package var state: State
    /// Whether a `remusd protect` has hold of it.
    package var isControlled: Bool
    package var plug: Plug.Mode
    package var heldBytes: Int
    package var keys: UInt64
    package var commands: UInt64
    /// Whether the kernel tracks its writes (userfaultfd) at the moment.
    package var isTracking: Bool
}

/// Runs one embedded guest in this process: RAM, vcpu, network card, plug and control socket.
package final class EmbeddedGuestHost: Sendable {
    package let configuration: EmbeddedGuestConfiguration
    /// Where it listens, with the port the kernel chose.
    package let address: SocketAddress

    private let lock: FileLock
    private let memoryFile: Descriptor
    private let plug: Plug
    private let cpu: VirtualCPU
    private let nic: VirtualNIC
    private let control: ControlServer
    private let controlPath: String

    /// Prepares everything: afterwards clients can connect, but nothing is executed before `run`.
    /// - Throws: why it cannot run here, and what to do.
    package init(_ configuration: EmbeddedGuestConfiguration) throws(GuestError) {
        let name = configuration.name
        func failing<R>(_ body: () throws(SystemError) -> R) throws(GuestError) -> R {
            do { return try body() } catch { throw GuestError(guest: name, reason: "\(error)") }
        }
        try Self.check(configuration)
        self.configuration = configuration
        do {
            lock = try FileLock(at: EmbeddedPaths.lockFile(of: name, in: configuration.runtimeDirectory))
        } catch {
            guard error.code == EWOULDBLOCK else { throw GuestError(guest: name, reason: "\(error)") }
            let reason =
                "a guest of this name runs here already; stop it (remusd guest stop \(name)) or choose another name"
            throw GuestError(guest: name, reason: reason)
        }
        let size = configuration.memoryBytes
        let file = try failing { () throws(SystemError) in
            if let adopted = configuration.adopted { return adopted.memory }
            return try Memfd.create(name: "guest-\(name)", size: size)
        }
        memoryFile = file
        let memory = try failing { () throws(SystemError) in try Mapping.shared(file, count: size) }
        let (table, registers) = try Self.table(in: GuestMemory(memory.bytes), configuration)
        let listener = try failing { () throws(SystemError) in try TCP.listen(on: configuration.listen) }
        let address = try failing { () throws(SystemError) in try TCP.localAddress(of: listener) }
        self.address = address
        let plug = try failing { () throws(SystemError) in
            Plug(limit: configuration.heldLimit, wake: try EventFD())
        }
        self.plug = plug

        // The vcpu tells the control server when it has suspended, and is made before it.
        let server = Monitor(ControlServer?.none)
        let cpu = VirtualCPU(table: table, registers: registers, plug: plug) { request, registers in
            server.withLock { $0 }?.parked(request: request, registers: registers)
        }
        self.cpu = cpu
        nic = try failing { () throws(SystemError) in
            try VirtualNIC(listener: listener, plug: plug) { cpu.enqueue($0) }
        }
        let pid = getpid()
        let startTime = ProcessHandle.startTime(of: pid) ?? 0
        let guest = ControlServer.Guest(
            cpu: cpu,
            plug: plug,
            memory: memory,
            memoryFile: try failing { () throws(SystemError) in try file.reopenedReadOnly() },
            description: {
                ControlDescription(
                    uuid: configuration.uuid,
                    pageCount: UInt64(size / guestPageSize),
                    memoryAddress: UInt64(UInt(bitPattern: memory.base)),
                    pid: pid,
                    startTime: startTime,
                    isPlugShut: plug.snapshot.mode != .open,
                    name: name,
                    address: address.description
                )
            }
        )
        let path = EmbeddedPaths.controlSocket(of: name, in: configuration.runtimeDirectory)
        controlPath = path
        let control = try failing { () throws(SystemError) in
            try ControlServer(guest, listener: try UnixSocket.listen(at: path))
        }
        self.control = control
        server.withLock { $0 = control }
    }

    private static func check(_ configuration: EmbeddedGuestConfiguration) throws(GuestError) {
        let name = configuration.name
        let size = configuration.memoryBytes
        guard EmbeddedGuestConfiguration.memoryRange.contains(size), size % guestPageSize == 0 else {
            throw GuestError(guest: name, reason: "\(size) bytes of RAM: give 16MiB to 8GiB, in whole pages")
        }
        guard let adopted = configuration.adopted else { return }
        let held = try? Memfd.size(of: adopted.memory)
        guard held == size, adopted.registers.memorySize == UInt64(size) else {
            throw GuestError(
                guest: name,
                reason: "the image is not of \(size) bytes, as the guest's RAM is to be"
            )
        }
    }

    private static func table(
        in memory: GuestMemory,
        _ configuration: EmbeddedGuestConfiguration
    ) throws(GuestError) -> (GuestTable, GuestRegisters) {
        if let adopted = configuration.adopted {
            guard let table = GuestTable(in: memory, registers: adopted.registers) else {
                throw GuestError(
                    guest: configuration.name,
                    reason: "the image holds no table where its registers say"
                )
            }
            return (table, adopted.registers)
        }
        let table = GuestTable.create(in: memory, seed: .random(in: .min ... .max))
        let registers = GuestRegisters(
            memorySize: memory.size,
            heapTop: table.heapTop,
            tableRoot: table.tableRoot
        )
        return (table, registers)
    }

    /// Runs the guest until it is stopped.
    /// - Parameter ready: called once it serves.
    package func run(ready: () -> Void = {}) throws(GuestError) {
        let threads: [WorkerThread]
        do {
            threads = [
                try WorkerThread("vcpu0") { [cpu] in cpu.run() },
                try WorkerThread("nic0") { [nic] in nic.run() },
            ]
        } catch { throw GuestError(guest: configuration.name, reason: "\(error)") }
        ready()
        control.run()
        nic.stop()
        cpu.stop()
        for thread in threads { thread.join() }
        unlink(controlPath)
    }

    /// Ends `run`, as a shutdown from inside the guest: its controller is told first and has two seconds to do what
    /// the end takes. From any thread, any number of times.
    package func stop() { control.stop() }

    /// The guest at this moment. From any thread.
    package var status: EmbeddedGuestSnapshot {
        let plug = plug.snapshot
        let control = control.status
        return EmbeddedGuestSnapshot(
            name: configuration.name,
            uuid: configuration.uuid,
            pid: getpid(),
            address: address.description,
            memoryBytes: configuration.memoryBytes,
            populatedBytes: (try? Memfd.populatedBytes(of: memoryFile)) ?? 0,
            state: cpu.isParked ? .suspended : .running,
            isControlled: control.isControlled,
            plug: plug.mode,
            heldBytes: plug.heldBytes,
            keys: cpu.keys.load(ordering: .relaxed),
            commands: cpu.commands.load(ordering: .relaxed),
            isTracking: control.isTracking
        )
    }
}
