/// Which pages of a guest are all zeros: a share of them, spread evenly, and always the same. QEMU's guest has the same
/// (bench/qemu-migration.py, `fill`).
struct ZeroPages {
    /// Of a hundred pages, about.
    let percent: Int

    func contains(_ pfn: Int) -> Bool {
        // A multiple of an odd number visits the whole range evenly (Knuth's multiplicative hashing).
        UInt64(UInt32(truncatingIfNeeded: pfn &* 2_654_435_761)) * 100 < UInt64(percent) << 32
    }
}
