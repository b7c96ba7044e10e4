import Checkpoint
import XenStream

/// A guest of the benchmark's own, as its engine's side has to do with it.
protocol EngineGuest: ProtectedGuest, Sendable {
    /// How the measuring thread hears of it.
    var turns: EpochTurns { get }
    /// Sees its epochs go by. Set before the engine runs.
    var watch: (any EpochWatch)? { get set }

    /// The running epoch's output was cut.
    func wasCut()
    /// The epoch that was cut last was acknowledged.
    func acknowledged()
    /// Of all pages that hold something, while the guest writes none.
    var digest: MemoryDigest { get }
}

extension GuestDescription {
    /// A guest of the benchmark's with `pages` pages.
    static func bench(pages: Int) -> GuestDescription {
        let name = BenchGuest.name
        return GuestDescription(
            name: name,
            uuid: .random(),
            kind: .hvm,
            pageCount: pages,
            address: "",
            config: Array("{\"c_info\":{\"type\":\"pvh\",\"name\":\"\(name)\"},\"b_info\":{}}".utf8)
        )
    }
}
