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
    /// Hands the image, as one plain xl image (stream-v2.md 13.1), to `sink`, piece by piece; the pieces are valid during
    /// the call only. For a host that starts a guest from such an image.
    package var writePlainImage: @Sendable (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void

    package init(
        description: GuestDescription,
        memoryDescriptor: Int32,
        stateRecords: [UInt8],
        address: String?,
        writePlainImage:
            @escaping @Sendable (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) {
        self.description = description
        self.memoryDescriptor = memoryDescriptor
        self.stateRecords = stateRecords
        self.address = address
        self.writePlainImage = writePlainImage
    }
}

/// A guest that runs on this host, as its host sees it.
package protocol RunningGuest: Sendable {
    /// True once it runs no more. Any thread; costs little.
    var hasEnded: Bool { get }
}

/// A guest that runs because it was activated here.
package struct ActivatedGuest: Sendable {
    /// Where its clients reach it.
    package var address: String
    /// Tells when it has ended.
    package var guest: any RunningGuest

    package init(address: String, guest: any RunningGuest) {
        self.address = address
        self.guest = guest
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
