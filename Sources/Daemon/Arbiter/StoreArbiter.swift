import Checkpoint
import Glibc
import SystemSupport

/// An arbiter over a record store: reads, judges, swaps. When it does not know what became of a swap it reads again: what
/// counts is whose id is there.
struct StoreArbiter<Store: RecordStore>: ArbiterBackend {
    /// Between two looks, in nanoseconds.
    private static var pause: UInt64 { 50_000_000 }

    let store: Store

    init(_ store: Store) { self.store = store }

    var name: String { store.name }

    func record(of guest: GuestUUID, until deadline: UInt64) throws(ArbiterError) -> GrantRecord? {
        try store.read(guest, until: deadline).record
    }

    func ask(_ request: GrantRequest, until deadline: UInt64) -> GrantAnswer {
        var mayBeGranted = false
        while true {
            var trouble = ArbiterError("somebody else changes the guest's record all the time")
            do throws(ArbiterError) {
                let found = try store.read(request.guest, until: deadline)
                switch request.judge(found.record) {
                case .answer(.granted(let record)):
                    try store.settle(request.guest, on: record, until: deadline)
                    return .granted(record)
                case .answer(let answer): return answer
                case .swap:
                    guard Clock.monotonic < deadline else { throw ArbiterError("the time is over") }
                    mayBeGranted = true
                    let isDone = try store.swap(
                        request.guest,
                        from: found,
                        to: request.wanted,
                        until: deadline
                    )
                    if isDone { return .granted(request.wanted) }
                }
            } catch {
                // Nothing was asked for yet: whoever asks again loses nothing.
                guard mayBeGranted else { return .unavailable("\(name): \(error)") }
                trouble = error
            }
            guard Clock.monotonic + Self.pause < deadline else {
                return .unavailable("\(name): \(trouble); it may have been granted all the same: ask again")
            }
            usleep(UInt32(Self.pause / 1000))
        }
    }
}
