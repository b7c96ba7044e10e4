import CXen
import Checkpoint
import Glibc
import XenStream

/// What a suspended guest is besides its memory: the records of state, and those before the memory.
protocol GuestStateReader: AnyObject {
    /// An upper bound of the bytes that either call appends.
    var capacity: Int { get }
    /// Appends what comes before STATIC_DATA_END and, once that is appended, what comes between it and the memory.
    func writeStatic(into writer: inout StreamWriter) throws(GuestError)
    /// Appends the records of a checkpoint (stream-v2.md, sections 6 and 7).
    func writeState(into writer: inout StreamWriter) throws(GuestError)
}

/// The processor that a guest was told it has: X86_CPUID_POLICY and X86_MSR_POLICY, whose entries Xen gives in the
/// form in which they travel (stream-v2.md, section 6.14).
struct ProcessorPolicy {
    private let hypervisor: Hypervisor
    private let domain: UInt32
    private let mostLeaves: UInt32, mostRegisters: UInt32

    init(_ hypervisor: Hypervisor, domain: UInt32) throws(GuestError) {
        self.hypervisor = hypervisor
        self.domain = domain
        var leaves: UInt32 = 0
        var registers: UInt32 = 0
        try hypervisor.check(
            "ask how long a processor policy is",
            CXen_policy_size(hypervisor.raw, &leaves, &registers)
        )
        (mostLeaves, mostRegisters) = (leaves, registers)
    }

    var capacity: Int {
        Int(mostLeaves) * CPUIDPolicyEntry.size + Int(mostRegisters) * MSRPolicyEntry.size + 64
    }

    func write(into writer: inout StreamWriter) throws(GuestError) {
        var leafCount = mostLeaves
        var registerCount = mostRegisters
        let leaves = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(mostLeaves) * CPUIDPolicyEntry.size,
            alignment: 8
        )
        let registers = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(mostRegisters) * MSRPolicyEntry.size,
            alignment: 8
        )
        defer {
            leaves.deallocate()
            registers.deallocate()
        }
        let code = CXen_policy(
            hypervisor.raw,
            domain,
            leaves.baseAddress,
            &leafCount,
            registers.baseAddress,
            &registerCount
        )
        try hypervisor.check("read its processor policy", code)
        func append(_ type: LibxcRecordType, _ bytes: UnsafeMutableRawBufferPointer, _ count: Int) {
            guard count > 0 else { return }
            writer.appendRecord(type, body: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        }
        append(.x86CPUIDPolicy, leaves, Int(leafCount) * CPUIDPolicyEntry.size)
        append(.x86MSRPolicy, registers, Int(registerCount) * MSRPolicyEntry.size)
    }
}

extension StreamWriter {
    /// X86_TSC_INFO of a domain.
    mutating func appendTSCInfo(of domain: UInt32, _ hypervisor: Hypervisor) throws(GuestError) {
        var info = TSCInfo(khz: 0, nanoseconds: 0, incarnation: 0)
        let code = CXen_tsc_info(
            hypervisor.raw,
            domain,
            &info.mode,
            &info.nanoseconds,
            &info.khz,
            &info.incarnation
        )
        try hypervisor.check("read its time", code)
        appendTSCInfo(info)
    }
}
