import CKernels
import Checkpoint
import Testing

/// The zero scan: one bit anywhere in a page is found, by the C kernel as by its Swift twin.
@Suite struct ZeroKernelTests {
    @Test func findsASingleBitAnywhere() {
        let page = UnsafeMutableRawBufferPointer.allocate(byteCount: guestPageSize, alignment: 64)
        defer { page.deallocate() }
        page.initializeMemory(as: UInt8.self, repeating: 0)
        #expect(ckernels_is_zero(page.baseAddress, page.count))
        #expect(SwiftKernels.isZero(UnsafeRawBufferPointer(page)))
        for place in page.indices {
            page[place] = 1 << UInt8(place & 7)
            #expect(!ckernels_is_zero(page.baseAddress, page.count))
            if place % 509 == 0 { #expect(!SwiftKernels.isZero(UnsafeRawBufferPointer(page))) }
            page[place] = 0
        }
    }

    @Test func looksAtItsOwnBytesOnly() {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 192, alignment: 64)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0xFF)
        for place in 64..<128 { memory[place] = 0 }
        #expect(ckernels_is_zero(memory.baseAddress.map { $0 + 64 }, 64))
        #expect(ckernels_is_zero(memory.baseAddress, 0))
    }
}
