import Checkpoint
import XenStream

extension Hello {
    /// A new session of a small guest; a test says what matters to it.
    static func sample(
        guest: String = "db",
        uuid: GuestUUID = GuestUUID(high: 1, low: 2),
        kind: GuestKind = .hvm,
        pages: Int = 16,
        address: String = "",
        generation: UInt64 = 1,
        session: UInt64 = 1,
        imageStillValid: Bool = false,
        populatedPages: Int? = nil,
        epochCapacity: UInt64 = 1 << 20,
        aloneAfter: TimeSpan = .seconds(10),
        bootID: String = "",
        host: String = "alpha",
        protectProcess: ProcessIdentity = ProcessIdentity(pid: 0, startTime: 0),
        guestProcess: ProcessIdentity = ProcessIdentity(pid: 0, startTime: 0)
    ) -> Hello {
        Hello(
            guest: GuestDescription(
                name: guest,
                uuid: uuid,
                kind: kind,
                pageCount: pages,
                address: address,
                config: []
            ),
            generation: generation,
            session: session,
            ackedEpoch: nil,
            imageStillValid: imageStillValid,
            populatedPages: UInt64(populatedPages ?? pages),
            epochCapacity: epochCapacity,
            aloneAfter: aloneAfter,
            bootID: bootID,
            host: host,
            protectProcess: protectProcess,
            guestProcess: guestProcess
        )
    }
}
