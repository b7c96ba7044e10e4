import Checkpoint

/// Starts nothing.
struct NoActivator: GuestActivator {
    func runningGuest(named name: String, uuid: GuestUUID, unfinished: UnfinishedStart?) -> ActivatedGuest? {
        nil
    }
    func outlook(for description: GuestDescription) -> ActivationOutlook { ActivationOutlook() }
    func missingResources(for request: ActivationRequest) -> [String] { [] }
    func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest {
        throw GuestError(guest: request.description.name, reason: "nothing starts here")
    }
}
