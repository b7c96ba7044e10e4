import CKernels
import Checkpoint
import Testing
import XenStream

/// CRC-32C: the C kernel against published vectors and against its Swift twin.
@Suite struct ChecksumKernelTests {
    static func crc(_ bytes: some Collection<UInt8>, from crc: UInt32 = 0) -> UInt32 {
        Array(bytes).withUnsafeBytes { ckernels_crc32c(crc, $0.baseAddress, $0.count) }
    }

    /// RFC 3720, appendix B.4; the last is the customary check value.
    static let vectors: [([UInt8], UInt32)] = [
        ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
        ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43),
        (Array(0..<32), 0x46DD_794E),
        (Array((0..<32).reversed()), 0x113F_DB5C),
        (iSCSIRead, 0xD996_3A56),
        (Array("123456789".utf8), 0xE306_9283),
        ([], 0),
    ]

    /// An iSCSI SCSI Read (10) command PDU.
    static let iSCSIRead: [UInt8] =
        [0x01, 0xC0, 0, 0] + zeros(12) + [0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18]
        + [0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0] + zeros(4)

    static func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

    @Test(arguments: vectors) func publishedVectors(_ bytes: [UInt8], _ expected: UInt32) {
        #expect(ChecksumKernelTests.crc(bytes) == expected)
        #expect(bytes.withUnsafeBytes { SwiftKernels.crc32c(0, $0) } == expected)
    }

    @Test(arguments: [CKERNELS_BEST, CKERNELS_AVX2, CKERNELS_PLAIN])
    func equalsItsTwinAtAnyLengthAndAlignment(_ way: ckernels_way) {
        var random = SplitMix(state: 11)
        // Long enough for the parts that are taken three at a time, more than once.
        let memory = (0..<20_000).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        memory.withUnsafeBytes { memory in
            // Then short ones: about the four blocks of 64 bytes that are carried along.
            for round in 0..<200 {
                let start = Int.random(in: 0..<64, using: &random)
                let end = Int.random(in: start...(round < 100 ? memory.count : 700), using: &random)
                let bytes = UnsafeRawBufferPointer(rebasing: memory[start..<end])
                let begin = UInt32.random(in: .min ... .max, using: &random)
                #expect(
                    ckernels_crc32c_by(way, begin, bytes.baseAddress, bytes.count)
                        == SwiftKernels.crc32c(begin, bytes)
                )
            }
        }
    }

    @Test(arguments: [100, 6144, 6145, 13_000]) func goesOnWhereItStopped(_ count: Int) {
        let bytes = (0..<count).map { UInt8($0 * 7 & 0xFF) }
        let whole = ChecksumKernelTests.crc(bytes)
        for cut in stride(from: 0, to: count, by: max(1, count / 100)) {
            let first = ChecksumKernelTests.crc(bytes[..<cut])
            #expect(ChecksumKernelTests.crc(bytes[cut...], from: first) == whole)
        }
    }
}
