import Checkpoint
import Synchronization

extension HostClaim {
    /// What this host's durable records say of a guest. An image is in nobody's memory but a living standby's: none is
    /// claimed here.
    /// - Parameter uuid: whose records count; nil takes those of any guest of this name.
    package init(recordedFor name: GuestName, uuid: String?, in paths: Paths) throws(RecordError) {
        self.init(
            try PrimaryRecord.load(from: paths.primaryRecord(name)),
            try StandbyRecord.load(from: paths.standbyRecord(name)),
            uuid: uuid
        )
    }

    /// The same of records that were read.
    init(_ primary: PrimaryRecord?, _ standby: StandbyRecord?, uuid: String?) {
        self.init()
        if let primary, uuid ?? primary.uuid == primary.uuid {
            self.primary = primary.generation
            outdatedBy = primary.outdatedBy ?? 0
        }
        if let standby, uuid ?? standby.uuid == standby.uuid {
            self.standby = standby.generation
            holding = standby.state == .active ? .active : .nothing
        }
    }
}

extension StandbyService {
    /// What this host knows of a guest that another one asks about: its records, and the image that is here.
    func claim(for inquiry: Inquiry) throws -> HostClaim {
        let name = try GuestName(inquiry.name)
        var claim = try HostClaim(recordedFor: name, uuid: inquiry.uuid.description, in: options.paths)
        guard let guest = guest(named: name.text) else { return claim }
        guest.state.withLock { state in
            guard state.uuid == inquiry.uuid, state.image != nil, state.machine.facts.state != .active else {
                return
            }
            claim.holding = .image
            claim.standby = max(claim.standby, state.machine.facts.generation)
        }
        return claim
    }
}
