/// An image on its way to become the running guest.
package struct ActivationRequest: Sendable {
    package var description: GuestDescription
    /// A descriptor of the memory file that holds guest RAM, pfn p at byte p * 4096. The guest may take it over: it
    /// is the one copy. Stays open, and its owner's, during the call.
    package var memoryDescriptor: Int32
    /// The newest committed state: libxc records, header and padding included, back to back.
    package var stateRecords: [UInt8]
    /// Where the guest shall be reached, if not where it was.
    package var address: String?

    package init(
        description: GuestDescription,
        memoryDescriptor: Int32,
        stateRecords: [UInt8],
        address: String?
    ) {
        self.description = description
        self.memoryDescriptor = memoryDescriptor
        self.stateRecords = stateRecords
        self.address = address
    }
}

/// A guest that runs because it was activated here.
package struct ActivatedGuest: Sendable {
    /// Where its clients reach it.
    package var address: String
    /// The process (or domain) number, for status.
    package var pid: Int32

    package init(address: String, pid: Int32) {
        self.address = address
        self.pid = pid
    }
}

/// Turns an image into a running guest on this host (design, "Activation").
package protocol GuestActivator: Sendable {
    /// The guest of this name and UUID that runs on this host, if one does.
    func runningGuest(named name: String, uuid: GuestUUID) -> ActivatedGuest?
    /// Everything that can be checked without touching anything: returns what is missing, empty if it can start.
    func missingResources(for request: ActivationRequest) -> [String]
    /// Starts the guest; returns once it answers. A throw leaves the image as it was and nothing running.
    func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest
}
