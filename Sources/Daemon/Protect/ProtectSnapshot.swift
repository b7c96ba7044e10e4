import Checkpoint

extension ProtectEngine {
    /// What another thread may read.
    package struct Snapshot: Sendable {
        package var status: ProtectStatus
        package var meters = ProtectMeters()
        /// How the connection is protected; nil without one.
        package var transport: String?
        package var syncDone = 0, syncTotal = 0
        package var held = HeldOutput()
        /// Output that is not held although it should be.
        package var leaks: [String] = []
        /// An order to the output buffer failed and is given again; a resume did.
        package var outputOwed = false, resumeOwed = false
        /// When the state began, by the wall clock.
        package var since: String
        package var at: Instant
        package var result: ProtectResult?
        /// Why the standby is lost, while it is; when it was heard of last.
        package var linkFailure: LinkFailure?
        package var lastContact: Instant?
    }
}
