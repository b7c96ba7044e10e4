import XenStream

/// What of a small HVM guest is no memory, at hand.
final class ReadyState {
    /// Bytes of its context.
    static let size = 8192
    /// Bytes of all its records, at most.
    static let capacity = size + 1024

    private let context: UnsafeMutableRawBufferPointer

    init() {
        context = .allocate(byteCount: Self.size, alignment: 64)
        context.initializeMemory(as: UInt8.self, repeating: 7)
    }

    deinit { context.deallocate() }

    /// Appends its records. The last two of its pages are xenstore's and the console's.
    func append(to writer: inout StreamWriter, pageCount: Int) {
        writer.appendTSCInfo(TSCInfo(khz: 1_000_000, nanoseconds: 1, incarnation: 1))
        withUnsafeTemporaryAllocation(of: HVMParam.self, capacity: 2) { params in
            let last = UInt64(pageCount - 1)
            params.initializeElement(at: 0, to: HVMParam(index: HVMParam.storePFN, value: last))
            params.initializeElement(at: 1, to: HVMParam(index: HVMParam.consolePFN, value: last - 1))
            writer.appendHVMParams(UnsafeBufferPointer(params))
        }
        // No typecode of Xen's own (xen/include/public/arch-x86/hvm/save.h).
        writer.appendHVMContext(typecode: 0xE2BE, payload: UnsafeRawBufferPointer(context))
    }
}
