import Glibc
import SystemSupport

/// The device model of an HVM guest, a QEMU that libxl started: stopped, saved and let go on over QMP.
///
/// Of the two monitors that libxl gives each QEMU (libxl_dm.c: `qmp-libxl-DOMID` and `qmp-libxenstat-DOMID`) it uses the second:
/// libxl itself has the first, and each serves one client at a time. The second is xentop's, for moments, which does without when it
/// gets no answer within 10 ms (libs/stat/xenstat_qmp.c). A connection lasts for one checkpoint.
///
/// Never waits, but where a deadline is given. What was stopped stays known as such until QEMU has said that it goes on, over
/// this connection or another.
package final class DeviceModel {
    /// The longest state that is taken, in bytes. It has no memory in it: some ten to a few hundred KiB are usual.
    package static let longestState = 16 << 20
    /// Where libxl has QEMU's sockets.
    package static let folder = "/var/run/xen"

    /// Whether the emulated devices work, as far as is known.
    package enum Devices: Equatable, Sendable {
        case running
        /// They were told to stop, and QEMU has not said that they have.
        case uncertain
        case stopped
    }

    /// What came of letting them go on.
    package enum Going: Equatable, Sendable {
        case runs
        /// There is no QEMU.
        case absent
        case silent
    }

    private enum Step {
        case idle
        /// A connection is made, and memory for the state handed over.
        case preparing
        case ready(set: UInt32)
        case stopping(set: UInt32)
        case saving(set: UInt32)
        case saved(count: Int)
        case failed(QMPError)
    }

    package private(set) var devices = Devices.running
    private let path: String
    private let events: Epoll
    private var step = Step.idle
    private var connection: QMPConnection?
    /// Commands are taken.
    private var isOpen = false
    private var file: SavedDevices?
    /// A set that QEMU holds for us.
    private var heldSet: UInt32?
    private let memory: UnsafeMutableRawBufferPointer
    /// A command whose answer is waited for, and the answer.
    private var awaited: QMPCommand?
    private var answer: QMPReturn?
    private var refusal: QMPError?

    /// The device model of a domain; nothing is connected yet.
    package init(of domain: UInt32, folder: String = folder) throws(QMPError) {
        path = "\(folder)/qmp-libxenstat-\(domain)"
        events = try QMPError.wrapping { () throws(SystemError) in try Epoll() }
        memory = .allocate(byteCount: Self.longestState, alignment: 4096)
    }

    deinit { memory.deallocate() }

    /// Readable when `advance` has something to do.
    package var eventDescriptor: Int32 { events.descriptor.raw }

    /// How long a guest is kept suspended for devices that do not say that they go on, in nanoseconds. Xen answers a guest whose
    /// devices are stopped with ones, which may end it: worse than standing still. Those that never said they stopped
    /// most likely have not, and a vcpu that needs them waits for them by itself.
    package var patience: UInt64 { devices == .stopped ? 30_000_000_000 : 1_000_000_000 }

    // MARK: A checkpoint

    /// Begins what can be done while the guest runs.
    package func begin() throws(QMPError) {
        file = try QMPError.wrapping { () throws(SystemError) in try SavedDevices() }
        step = .preparing
        do throws(QMPError) {
            if connection == nil { try connect() } else { try prepare() }
        } catch {
            lose(error)
            step = .idle
            throw error
        }
    }

    package var isReady: Bool { if case .ready = step { true } else { false } }
    package var isSaved: Bool { if case .saved = step { true } else { false } }
    /// Why this checkpoint has no state of the devices.
    package var failure: QMPError? { if case .failed(let error) = step { error } else { nil } }
    /// The state that was saved last.
    package var state: UnsafeRawBufferPointer {
        guard case .saved(let count) = step else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(rebasing: memory[..<count])
    }

    /// Stops the devices and has them saved; the vcpus stand still already.
    package func stopAndSave() {
        guard case .ready(let set) = step, let connection else {
            if failure == nil { fail(.closed("taking stop")) }
            return
        }
        // Whatever becomes of the command: it may be carried out.
        devices = .uncertain
        step = .stopping(set: set)
        do throws(QMPError) { try connection.send(.stop) } catch { lose(error) }
    }

    /// This checkpoint has no state of the devices.
    package func fail(_ error: QMPError) { if failure == nil { step = .failed(error) } }

    /// The same, because the time is over.
    package func failLate() { fail(.late(connection?.expected ?? "a connection")) }

    /// Takes what QEMU has said, and goes on from there.
    package func advance() {
        guard let connection else { return }
        do throws(QMPError) {
            try connection.advance { outcome throws(QMPError) in try handle(outcome) }
        } catch {
            lose(error)
        }
    }

    /// Has stopped devices go on, and waits for it until `deadline` (`Clock.monotonic`); with one that is past, only looks.
    package func goOn(until deadline: UInt64) -> Going {
        // A state that is not there yet is not wanted any more.
        switch step {
        case .stopping, .saving: failLate()
        case .idle, .preparing, .ready, .saved, .failed: break
        }
        while true {
            advance()
            if devices == .running { return .runs }
            do throws(QMPError) {
                if connection == nil { try connect() }
                try sendGo()
            } catch {
                lose(error)
                if case .absent = error { return .absent }
            }
            let now = Clock.monotonic
            guard now < deadline else { return .silent }
            // A connection that failed, or a command that was refused, is tried again at its leisure.
            if let connection, refusal == nil {
                _ = connection.socket.waitReadable(until: deadline)
            } else {
                usleep(UInt32(min(deadline - now, 10_000_000) / 1000))
                refusal = nil
            }
        }
    }

    /// The end of a checkpoint: what QEMU has of ours is given back, and the connection closed.
    package func finish() {
        step = .idle
        file = nil
        // An order to go on that waits in this connection is not taken back.
        guard devices == .running else { return }
        guard isOpen, let connection, let set = heldSet else { return close() }
        heldSet = nil
        do throws(QMPError) { try connection.send(.removeDescriptors(set: set)) } catch { lose(error) }
    }

    // MARK: Besides

    /// Whether QEMU is there, and one that can be worked with; waits until `deadline`.
    package func check(until deadline: UInt64) throws(QMPError) {
        defer { closeIfIdle() }
        _ = try perform(.status, until: deadline)
    }

    /// From here on Xen is told, or told no more, of each page that the device model writes; waits until `deadline`.
    package func logWrites(_ on: Bool, until deadline: UInt64) throws(QMPError) {
        // An order to go on that waits is not to be lost with its connection.
        guard devices == .running else { throw .late("an answer to \(QMPCommand.go)") }
        defer { closeIfIdle() }
        _ = try perform(.logWrites(true), until: deadline)
        // Switched off twice, QEMU ends itself; on twice is no matter (QEMU, softmmu/memory.c, memory_global_dirty_log_do_stop).
        // Who switched what last is not known: a process that died, another tool.
        if !on { _ = try perform(.logWrites(false), until: deadline) }
    }

    /// Has devices go on that a process stopped which is dead; waits until `deadline` for QEMU to say whether they are, and then, if
    /// they are, `patience` for them.
    /// - Returns: whether they were.
    package func recover(until deadline: UInt64) -> Bool {
        defer { closeIfIdle() }
        guard let status = try? perform(.status, until: deadline).status, status == "paused" else {
            return false
        }
        devices = .stopped
        _ = goOn(until: Clock.monotonic + patience)
        return true
    }

    private func perform(_ command: QMPCommand, until deadline: UInt64) throws(QMPError) -> QMPReturn {
        do throws(QMPError) {
            if connection == nil { try connect() }
            var isSent = false
            (answer, refusal, awaited) = (nil, nil, command)
            defer { awaited = nil }
            while let connection {
                if isOpen, !isSent {
                    isSent = true
                    try connection.send(command)
                }
                advance()
                if let answer { return answer }
                if let refusal { throw refusal }
                guard self.connection != nil, isSent || !isOpen else { continue }
                guard connection.socket.waitReadable(until: deadline) else {
                    throw .late(connection.expected)
                }
            }
            throw refusal ?? .closed("an answer to \(command)")
        } catch {
            // An answer that comes later would be taken for another's.
            if case .refused = error {} else { lose(error) }
            throw error
        }
    }

    private func closeIfIdle() {
        if case .idle = step, devices == .running { close() }
    }

    // MARK: The connection

    private func connect() throws(QMPError) {
        let new = try QMPConnection(to: path)
        try QMPError.wrapping { () throws(SystemError) in
            try events.add(new.socket, .readable, token: 0)
        }
        connection = new
    }

    private func close() {
        if let connection { events.remove(connection.socket) }
        connection = nil
        isOpen = false
        heldSet = nil
    }

    private func lose(_ error: QMPError) {
        close()
        if awaited != nil, refusal == nil { refusal = error }
        switch step {
        case .idle, .saved, .failed: break
        case .preparing, .ready, .stopping, .saving: step = .failed(error)
        }
    }

    private func sendGo() throws(QMPError) {
        guard isOpen, let connection, !connection.isOutstanding(.go) else { return }
        try connection.send(.go)
    }

    /// Hands over memory for the state, once the devices work.
    private func prepare() throws(QMPError) {
        guard isOpen, case .preparing = step, let connection, let file else { return }
        guard devices == .running else { return try sendGo() }
        if let set = heldSet {
            heldSet = nil
            try connection.send(.removeDescriptors(set: set))
        }
        let writer = try QMPError.wrapping { () throws(SystemError) in try file.writer() }
        try connection.send(.addDescriptor, writer)
    }

    private func handle(_ outcome: QMPClient.Outcome) throws(QMPError) {
        switch outcome {
        case .greeted(let version):
            // Only this one minds a log that is switched on twice, and no order is safe with it.
            guard version != QEMUVersion(6, 2) else { throw .unfit(version) }
            try connection?.send(.capabilities)
        case .done(let command, let result):
            if command == awaited { answer = result }
            try handle(command, result)
        case .refused(let command, let reason):
            let error = QMPError.refused(command, reason)
            if command == awaited { refusal = error }
            try handle(refusedBy: error, command)
        }
    }

    private func handle(_ command: QMPCommand, _ result: QMPReturn) throws(QMPError) {
        switch (command, step) {
        case (.capabilities, _):
            isOpen = true
            try prepare()
        case (.go, _):
            devices = .running
            try prepare()
        case (.addDescriptor, let step):
            guard let set = result.fdset else { throw .garbled("the number of a set") }
            heldSet = set
            if case .preparing = step { self.step = .ready(set: set) }
        case (.stop, let step):
            devices = .stopped
            guard case .stopping(let set) = step, let connection else { return }
            self.step = .saving(set: set)
            let knowsLive = connection.version.map { $0 >= QEMUVersion(2, 11) } ?? false
            try connection.send(.saveDevices(set: set, knowsLive: knowsLive))
        case (.saveDevices, .saving):
            guard let file else { return }
            do throws(QMPError) {
                step = .saved(count: try file.read(into: memory))
            } catch {
                fail(error)
            }
        case (.removeDescriptors, .idle) where awaited == nil: close()
        case (.status, _), (.logWrites, _), (.saveDevices, _), (.removeDescriptors, _): break
        }
    }

    private func handle(refusedBy error: QMPError, _ command: QMPCommand) throws(QMPError) {
        switch command {
        case .capabilities: throw error
        case .stop:
            devices = .running
            fail(error)
        case .go: refusal = error
        case .addDescriptor, .saveDevices: fail(error)
        case .removeDescriptors: if case .idle = step, awaited == nil { close() }
        case .status, .logWrites: break
        }
    }
}
