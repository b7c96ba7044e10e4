import Checkpoint
import Glibc
import SystemSupport

/// Starts an image as an embedded guest: a child process that maps the image's memory file and reads its registers.
package final class EmbeddedActivator: GuestActivator {
    private let executable: String
    private let runtimeDirectory: String

    /// - Parameters:
    ///   - executable: the `remusd` to run as the guest.
    ///   - runtimeDirectory: where the guest will have its control socket; handed on as REMUSD_RUNTIME_DIR.
    package init(runtimeDirectory: String, executable: String = ChildProcess.ownPath) {
        self.executable = executable
        self.runtimeDirectory = runtimeDirectory
    }

    package func outlook(for description: GuestDescription) -> ActivationOutlook { ActivationOutlook() }

    /// A start that was not finished leaves a guest that serves, or a process that ends with its parent's socket.
    package func runningGuest(
        named name: String,
        uuid: GuestUUID,
        unfinished: UnfinishedStart?
    ) -> ActivatedGuest? {
        let path = EmbeddedPaths.controlSocket(of: name, in: runtimeDirectory)
        guard let guest = GuestLink.described(path), guest.uuid == uuid else { return nil }
        return ActivatedGuest(address: guest.address, guest: EmbeddedProcess(guest.pid))
    }

    package func missingResources(for request: ActivationRequest) -> [String] {
        var missing: [String] = []
        let description = request.description
        let name = description.name
        if GuestLink.isAnswered(EmbeddedPaths.controlSocket(of: name, in: runtimeDirectory)) {
            missing.append("a guest named \(name) runs here already")
        }
        let place = request.address ?? description.address
        if let address = SocketAddress(place) {
            do { try TCP.checkFree(address) } catch { missing.append("address \(place): \(error)") }
        } else {
            missing.append("address '\(place)' is not of the form ADDRESS:PORT")
        }
        let size = description.pageCount * guestPageSize
        if !EmbeddedGuestConfiguration.memoryRange.contains(size) {
            missing.append("\(size) bytes of RAM are not 16MiB to 8GiB")
        }
        var info = stat()
        if fstat(request.memoryDescriptor, &info) != 0 || Int(info.st_size) != size {
            missing.append("the image's memory file is not of the guest's \(size) bytes")
        }
        switch GuestRegisters.find(inStateRecords: request.stateRecords) {
        case nil: missing.append("the image's state holds no registers of an embedded guest")
        case let registers? where registers.memorySize != UInt64(size):
            missing.append("the image's registers are of a guest with \(registers.memorySize) bytes of RAM")
        case _?: break
        }
        return missing
    }

    /// Starts the child: a process needs longer to get to where it could use an image than all the rest of an activation takes.
    package func begin(_ request: ActivationRequest) -> (any BegunStart)? {
        (try? spawn(request)).map { EmbeddedStart($0) }
    }

    package func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest {
        let name = request.description.name
        guard let registers = GuestRegisters.find(inStateRecords: request.stateRecords) else {
            throw GuestError(guest: name, reason: "the image's state holds no registers of an embedded guest")
        }
        let child: WaitingChild
        do {
            child = try (request.begun as? EmbeddedStart)?.take() ?? spawn(request)
        } catch {
            throw GuestError(guest: name, reason: "\(error)")
        }
        // Its owner, or the memory could be given back in the middle of it.
        withExtendedLifetime(child.registers) { registers.encode(to: $0.base) }
        request.willRun()
        do throws(WaitingChild.Failure) {
            return ActivatedGuest(address: try child.release(), guest: EmbeddedProcess(child.pid))
        } catch {
            child.end()
            throw GuestError(guest: name, reason: "cannot start the image: \(error.reason)")
        }
    }

    private func spawn(_ request: ActivationRequest) throws(SystemError) -> WaitingChild {
        let description = request.description
        let copy = fcntl(request.memoryDescriptor, F_DUPFD_CLOEXEC, 3)
        guard copy >= 0 else { throw SystemError("duplicate the image's descriptor") }
        let memory = Descriptor(owning: copy)
        let block = try Memfd.create(name: "registers", size: GuestRegisters.size)
        let registers = try Mapping.shared(block, count: GuestRegisters.size)
        let (ours, its) = try UnixSocket.pairOfStreams()
        var arguments = ["guest", "run", description.name]
        arguments += ["--memory", String(description.pageCount * guestPageSize)]
        arguments += ["--listen", request.address ?? description.address, "--uuid", "\(description.uuid)"]
        arguments += ["--adopt-memory-fd", "3", "--adopt-registers-fd", "4", "--ready-fd", "5"]
        var environment = ChildProcess.environment.filter { !$0.hasPrefix("REMUSD_RUNTIME_DIR=") }
        environment.append("REMUSD_RUNTIME_DIR=\(runtimeDirectory)")
        let pid = try ChildProcess.spawn(
            executable,
            arguments,
            inherited: [3: memory, 4: block, 5: its],
            environment: environment
        )
        return WaitingChild(pid: pid, channel: ours, registers: registers)
    }

    /// In the child: waits to be told that it may take the image.
    /// - Returns: false if it never may: who started it has given it up, or has ended.
    package static func awaitRelease(_ channel: Descriptor) -> Bool {
        var word: UInt8 = 0
        while true {
            let count = read(channel.raw, &word, 1)
            if count >= 0 || errno != EINTR { return count == 1 && word == WaitingChild.release }
        }
    }

    /// In the child: takes over the descriptors that `start` gave it.
    package static func adopted(
        memory: Int32,
        registers: Int32
    ) throws(SystemError) -> (memory: Descriptor, registers: GuestRegisters) {
        let file = Descriptor(owning: memory)
        let block = try Mapping.shared(Descriptor(owning: registers), count: GuestRegisters.size)
        guard let registers = GuestRegisters(UnsafeRawBufferPointer(block.bytes)) else {
            throw SystemError("read the registers that came with the image", code: EINVAL)
        }
        return (file, registers)
    }
}

/// The process of an embedded guest; one that cannot be watched any more has ended.
package struct EmbeddedProcess: RunningGuest {
    package let pid: Int32
    private let process: ProcessHandle?

    init(_ pid: Int32) {
        self.pid = pid
        process = try? ProcessHandle(pid: pid)
    }

    package var hasEnded: Bool { process?.hasEnded ?? true }
}
