import Checkpoint
import XenStream

/// Messages with everything that a test does not care about filled in.
enum Sample {
    static let guest = GuestDescription(
        name: "db",
        uuid: GuestUUID(high: 0x0011_2233_4455_4677, low: 0x8899_AABB_CCDD_EEFF),
        kind: .hvm,
        pageCount: 1024,
        address: "127.0.0.1:6400",
        config: Array("{}".utf8)
    )

    static func hello(
        generation: UInt64 = 5,
        session: UInt64 = 9,
        acked: UInt64? = nil,
        imageStillValid: Bool = false,
        aloneAfter: TimeSpan = .seconds(10)
    ) -> Hello {
        Hello(
            guest: guest,
            generation: generation,
            session: session,
            ackedEpoch: acked,
            imageStillValid: imageStillValid,
            populatedPages: 512,
            epochCapacity: 1 << 20,
            aloneAfter: aloneAfter,
            bootID: "b00t",
            host: "alpha",
            protectProcess: ProcessIdentity(pid: 10, startTime: 100),
            guestProcess: ProcessIdentity(pid: 11, startTime: 101)
        )
    }

    static func welcome(committed: UInt64? = nil, keepsOlder: Bool = false) -> Message {
        .welcome(
            Welcome(
                version: 1,
                committedEpoch: committed,
                keepsOlderImage: keepsOlder,
                memoryCeiling: 1 << 30,
                memoryUsed: 1 << 20,
                host: "beta"
            )
        )
    }

    static func refusal(_ reason: RefusalReason, generation: UInt64 = 0) -> Message {
        .refuse(Refusal(reason: reason, generation: generation, text: "no"))
    }

    static let room = MemoryVerdict(ceiling: 100, used: 0, needed: 10)
    static let noRoom = MemoryVerdict(ceiling: 100, used: 95, needed: 10)
}
