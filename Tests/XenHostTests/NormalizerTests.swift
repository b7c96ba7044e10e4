import Testing
import XenHost
import XenStream

/// Frame f of the machine is pfn f - 1000, for a hundred pages.
private struct Shifted: FrameTranslation {
    func pfn(ofFrame frame: UInt64) -> UInt64? { (1000..<1100).contains(frame) ? frame - 1000 : nil }
}

@Suite struct NormalizerTests {
    private func normalize(
        _ words: [UInt64],
        level: Int,
        _ info: PVInfo = .pv64,
        compat: UInt64? = nil
    ) -> (PageTableNormalizer.Outcome, [UInt64]) {
        var result = [UInt64](repeating: 0xDEAD, count: 512)
        let normalizer = PageTableNormalizer(info: info, compatTable: compat)
        let outcome = words.withUnsafeBytes { source in
            result.withUnsafeMutableBytes { target in
                normalizer.normalize(
                    source.baseAddress.unsafelyUnwrapped,
                    level: level,
                    into: target.baseAddress.unsafelyUnwrapped,
                    Shifted()
                )
            }
        }
        return (outcome, result)
    }

    private func table(_ entries: [Int: UInt64]) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: 512)
        for (index, word) in entries { words[index] = word }
        return words
    }

    @Test func replacesFramesAndKeepsFlags() {
        let flags: UInt64 = 1 << 63 | 0x067
        let (outcome, words) = normalize(table([0: 1005 << 12 | flags, 511: 1099 << 12 | 1]), level: 1)
        #expect(outcome == .done)
        #expect(words[0] == 5 << 12 | flags)
        #expect(words[511] == 99 << 12 | 1)
        #expect(words[1] == 0)
    }

    @Test func whatIsNotPresentPassesThrough() {
        let (outcome, words) = normalize(table([3: 0xFFFF_FFFF_FFFF_FFFE]), level: 1)
        #expect(outcome == .done)
        #expect(words[3] == 0xFFFF_FFFF_FFFF_FFFE)
    }

    @Test func aFrameThatIsNotTheGuestsIsNamed() {
        #expect(normalize(table([7: 77 << 12 | 1]), level: 1).0 == .unresolved(frame: 77))
    }

    @Test func superpagesAreRefusedAboveLevel1() {
        let entry: UInt64 = 1001 << 12 | 1 << 7 | 1
        #expect(normalize(table([0: entry]), level: 2).0 == .superpage)
        // In an L1 the bit is PAT.
        #expect(normalize(table([0: entry]), level: 1).0 == .done)
    }

    @Test func xensOwnSlotsGo() {
        let foreign: UInt64 = 77 << 12 | 1
        let (outcome, words) = normalize(table([255: 1001 << 12 | 1, 256: foreign, 271: foreign]), level: 4)
        #expect(outcome == .done)
        #expect(words[255] == 1 << 12 | 1)
        #expect(words[256] == 0)
        #expect(words[271] == 0)
    }

    @Test func xensSlotsIn32BitGuests() {
        let foreign: UInt64 = 77 << 12 | 1
        #expect(normalize(table([3: 1001 << 12 | 1, 4: foreign]), level: 3, .pv32).0 == .done)
        // An L2 has them only if its slot 428 maps Xen's table.
        let other = table([428: 77 << 12 | 1, 511: foreign])
        #expect(normalize(other, level: 2, .pv32, compat: 77).0 == .done)
        #expect(normalize(other, level: 2, .pv32, compat: 78).0 == .unresolved(frame: 77))
    }

    @Test func registersOf64Bit() {
        let layout = PVLayout.VcpuContext.pv64
        var blob = [UInt64](repeating: 0, count: layout.size / 8)
        blob[layout.edx / 8] = 1001
        blob[layout.gdtEntries / 8] = 513
        blob[layout.gdtFrames / 8] = 1002
        blob[layout.gdtFrames / 8 + 1] = 1003
        blob[layout.cr3 / 8] = 1004 << 12
        blob[4992 / 8] = 1005 << 12
        let bad = blob.withUnsafeMutableBytes { layout.normalize($0, isFirst: true, Shifted()) }
        #expect(bad == nil)
        #expect(blob[layout.edx / 8] == 1)
        #expect(blob[layout.gdtFrames / 8] == 2)
        #expect(blob[layout.gdtFrames / 8 + 1] == 3)
        #expect(blob[layout.cr3 / 8] == 4 << 12)
        #expect(blob[4992 / 8] == 5 << 12 | 1)
    }

    @Test func aVcpuWithoutAUserTableAndOthersEdx() {
        let layout = PVLayout.VcpuContext.pv64
        var blob = [UInt64](repeating: 0, count: layout.size / 8)
        blob[layout.edx / 8] = 0x1234
        blob[layout.cr3 / 8] = 1004 << 12
        let bad = blob.withUnsafeMutableBytes { layout.normalize($0, isFirst: false, Shifted()) }
        #expect(bad == nil)
        #expect(blob[layout.edx / 8] == 0x1234)
        #expect(blob[4992 / 8] == 0)
        let named = blob.withUnsafeMutableBytes { layout.normalize($0, isFirst: true, Shifted()) }
        #expect(named == 0x1234)
    }
}
