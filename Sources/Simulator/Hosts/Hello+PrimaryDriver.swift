import Checkpoint

extension Hello {
    init(
        from protect: PrimaryDriver,
        _ generation: UInt64,
        _ session: UInt64,
        _ acked: UInt64?,
        _ isValid: Bool
    ) {
        let process = ProcessIdentity(pid: 1, startTime: 1)
        self.init(
            guest: protect.world.guest,
            generation: generation,
            session: session,
            ackedEpoch: acked,
            imageStillValid: isValid,
            populatedPages: 1,
            epochCapacity: 1 << 20,
            aloneAfter: protect.settings.aloneAfter,
            bootID: "",
            host: protect.host.name,
            protectProcess: process,
            guestProcess: process
        )
        arbiter = protect.world.arbiterChoice?.name
        hasUnreplicatedDisk = protect.settings.hasUnreplicatedDisk
    }
}
