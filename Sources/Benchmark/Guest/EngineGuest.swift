import Checkpoint
import XenStream

/// A guest of the benchmark's own, as its engine's side has to do with it.
protocol EngineGuest: ProtectedGuest, Sendable {
    /// How the measuring thread hears of it.
    var turns: EpochTurns { get }
    /// Sees its epochs go by. Set before the engine runs.
    var watch: (any EpochWatch)? { get set }

    /// What of it is no memory.
    var state: ReadyState { get }

    /// The running epoch's output was cut.
    func wasCut()
    /// The epoch that was cut last was acknowledged.
    func acknowledged()
    /// Of all pages that hold something, while the guest writes none.
    var digest: MemoryDigest { get }
}

extension EngineGuest {
    func ended() -> GuestEnd? { nil }

    var stateCapacity: Int { ReadyState.capacity }

    func writeStatic(into writer: inout StreamWriter) { writer.appendRecord(.staticDataEnd) }

    func writeState(into writer: inout StreamWriter) {
        state.append(to: &writer, pageCount: description.pageCount)
    }
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
