import Checkpoint
import SystemSupport
import XenHost

/// A domain's vcpus, which suspend when they are asked; what happens to them goes into the device model's journal.
final class VcpuDouble: DomainSuspension {
    private let events: EventFD
    private let qemu: ScriptedQEMU
    private(set) var isSuspended = false
    private var isAsked = false
    /// What a request is answered with; nil: not yet.
    var answer: SuspendOutcome? = .suspended
    var end: GuestEnd?

    init(_ qemu: ScriptedQEMU) throws {
        self.qemu = qemu
        events = try EventFD()
    }

    var eventDescriptor: Int32 { events.descriptor.raw }

    func request() {
        qemu.note("vcpus asked")
        isAsked = true
        events.signal()
    }

    func outcome() -> SuspendOutcome? {
        events.drain()
        guard isAsked, let answer else { return nil }
        isAsked = false
        isSuspended = answer == .suspended
        return answer
    }

    func cancel() {
        isAsked = false
        if isSuspended { resume() }
    }

    func resume() {
        guard isSuspended else { return }
        isSuspended = false
        qemu.note(qemu.read(\.isRunning) ? "vcpus run" : "vcpus run without devices")
    }

    func checkEnd() -> GuestEnd? { end }
    func settle(within limit: UInt64) { cancel() }
}
