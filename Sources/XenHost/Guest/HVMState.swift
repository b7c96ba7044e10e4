import CXen
import Checkpoint
import Glibc
import XenStream

/// The state of a PVH or HVM guest: TSC_INFO, HVM_PARAMS, HVM_CONTEXT.
final class HVMState: GuestStateReader {
    /// The parameters that travel (stream-v2.md, section 6.9), in the order of Xen's own sender.
    private static let parameters: [UInt32] = [
        1, 5, 6, 27, 28, 29, 37, 17, 19, 9, 12, 34, 32, 33, 36, 38,
    ]
    /// What the context may grow by, when vcpus come online.
    private static let slack = 64 << 10

    let capacity: Int
    private let hypervisor: Hypervisor
    private let domain: UInt32
    private let policy: ProcessorPolicy
    private let context: UnsafeMutableRawBufferPointer
    private let values: UnsafeMutableBufferPointer<HVMParam>

    init(_ hypervisor: Hypervisor, domain: UInt32) throws(GuestError) {
        self.hypervisor = hypervisor
        self.domain = domain
        policy = try ProcessorPolicy(hypervisor, domain: domain)
        let size = CXen_hvm_context_size(hypervisor.raw, domain)
        try hypervisor.check("ask how long its HVM context is", size < 0 ? Int32(-size) : 0)
        context = .allocate(byteCount: size + Self.slack, alignment: 8)
        values = .allocate(capacity: Self.parameters.count)
        values.initialize(repeating: HVMParam(index: 0, value: 0))
        capacity = max(
            policy.capacity,
            context.count + StreamWriter.hvmParamsLength(Self.parameters.count) + TSCInfo.size + 64
        )
    }

    deinit {
        context.deallocate()
        values.deallocate()
    }

    func writeStatic(into writer: inout StreamWriter) throws(GuestError) {
        try policy.write(into: &writer)
        writer.appendRecord(.staticDataEnd)
    }

    func writeState(into writer: inout StreamWriter) throws(GuestError) {
        try writer.appendTSCInfo(of: domain, hypervisor)
        var count = 0
        for index in Self.parameters {
            var value: UInt64 = 0
            try hypervisor.check(
                "read its HVM parameter \(index)",
                CXen_hvm_param(hypervisor.raw, domain, index, &value)
            )
            guard value != 0 else { continue }
            values[count] = HVMParam(index: UInt64(index), value: value)
            count += 1
        }
        writer.appendHVMParams(UnsafeBufferPointer(rebasing: values[..<count]))
        let size = CXen_hvm_context(hypervisor.raw, domain, context.baseAddress, context.count)
        try hypervisor.check("read its HVM context", size < 0 ? Int32(-size) : 0)
        writer.appendHVMContext(UnsafeRawBufferPointer(rebasing: context[..<size]))
    }
}
