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
    /// the call only. For a host that starts a guest from such an image. With `config`, if that is given, as the configuration in it.
    package var writePlainImage:
        @Sendable (_ config: [UInt8]?, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
    /// To be called just before the guest may run for the first time, or may change the memory file: from then on the
    /// image is not what the guest is made from any more.
    package var willRun: @Sendable () -> Void
    /// The guest, built already, if its host keeps it so; then the image is nothing more than that.
    package var prepared: (any PreparedGuest)?
    /// What `GuestActivator.begin` began for this start, to be gone on with.
    package var begun: (any BegunStart)?

    package init(
        description: GuestDescription,
        memoryDescriptor: Int32,
        stateRecords: [UInt8],
        address: String?,
        writePlainImage:
            @escaping @Sendable (_ config: [UInt8]?, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws
            ->
            Void,
        willRun: @escaping @Sendable () -> Void = {}
    ) {
        self.description = description
        self.memoryDescriptor = memoryDescriptor
        self.stateRecords = stateRecords
        self.address = address
        self.writePlainImage = writePlainImage
        self.willRun = willRun
    }
}

/// A guest that is built from the newest commit and waits, paused, to be let run.
package protocol PreparedGuest: Sendable {
    /// Lets it run; `willRun` is called just before it may. If this throws, nothing runs and the guest is lost.
    func run(willRun: () -> Void) throws(GuestError)
    /// Whether it is lost.
    var isGone: Bool { get }
    /// Why it is lost.
    var reason: String { get }
}

/// A start that was begun before anybody has permitted it, with what does not make the guest run. It ends with the process
/// that began it.
package protocol BegunStart: Sendable {
    /// Ends it and leaves nothing of it, unless `GuestActivator.start` has gone on with it. Any number of times.
    func abandon()
}

/// A start that an earlier daemon began and did not live to finish.
package enum UnfinishedStart: Equatable, Sendable {
    /// Nothing ran yet: `ActivationRequest.willRun` was not called. The image is whole.
    case notYetRun
    /// It may have run.
    case mayHaveRun
}

/// What stands in the way of starting a guest here, as far as it can be told before there is a reason to.
package struct ActivationOutlook: Equatable, Sendable {
    /// One text for each thing that is missing or does not fit; empty if the guest could be started now.
    package var obstacles: [String]
    /// Memory that the guest will take of its host, and what is free there; bytes. Nil where that is not known.
    package var neededBytes: UInt64?
    package var freeBytes: UInt64?

    package init(obstacles: [String] = [], neededBytes: UInt64? = nil, freeBytes: UInt64? = nil) {
        self.obstacles = obstacles
        self.neededBytes = neededBytes
        self.freeBytes = freeBytes
    }
}

/// A guest that runs on this host, as its host sees it.
package protocol RunningGuest: Sendable {
    /// True once it runs no more. Any thread; costs little.
    var hasEnded: Bool { get }
}

/// A network interface of a guest, as this host sees it.
package struct GuestInterface: Equatable, Sendable {
    /// This host's name of it.
    package var name: String
    package var mac: String
    /// The guest's own addresses there, as far as they are known.
    package var addresses: [String]

    package init(name: String, mac: String, addresses: [String]) {
        self.name = name
        self.mac = mac
        self.addresses = addresses
    }
}

/// A guest that runs because it was activated here.
package struct ActivatedGuest: Sendable {
    /// Where its clients reach it; empty if that is not known.
    package var address: String
    /// Tells when it has ended.
    package var guest: any RunningGuest
    /// What the network has to be told of: from now on the guest is here.
    package var interfaces: [GuestInterface]

    package init(address: String, guest: any RunningGuest, interfaces: [GuestInterface] = []) {
        self.address = address
        self.guest = guest
        self.interfaces = interfaces
    }
}

/// Turns an image into a running guest on this host (design, "Activation").
package protocol GuestActivator: Sendable {
    /// The guest of this name and UUID that runs on this host, if one does.
    /// - Parameter unfinished: an earlier daemon's start whose image is still there. What it left is brought to its end
    ///   (the guest runs) or away (nil: the image can be started again); nothing half-made stays.
    func runningGuest(named name: String, uuid: GuestUUID, unfinished: UnfinishedStart?) -> ActivatedGuest?
    /// What would stand in the way now; touches nothing. May take seconds.
    func outlook(for description: GuestDescription) -> ActivationOutlook
    /// Everything that can be checked without touching anything: returns what is missing, empty if it can start.
    func missingResources(for request: ActivationRequest) -> [String]
    /// Begins with what takes time and does not make the guest run, while the grant is asked for and written down: reads nothing
    /// of the image and changes nothing of it, and nobody outside sees anything of it. Does not wait for what it began.
    /// - Returns: nil where there is nothing to begin with, or it failed, which `start` will say.
    func begin(_ request: ActivationRequest) -> (any BegunStart)?
    /// Starts the guest; returns once it answers. A throw leaves the image as it was and nothing running.
    func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest
}

extension GuestActivator {
    package func begin(_ request: ActivationRequest) -> (any BegunStart)? { nil }
}
