import Checkpoint

/// Notices network cards of a guest's that come, and those that are being taken away. Belongs to one thread at a time.
package final class CardWatch {
    /// How a card stands.
    package enum Standing: Equatable, Sendable {
        case serves
        /// One of its ends is closing: it is being detached, or the guest's driver lets it go. What was sent may still leave.
        case closes
        /// The guest's end is gone from xenstore: the guest is being destroyed, or the card was detached. The interface goes as soon
        /// as nothing of it is held.
        case torn
    }

    private let store: Xenstore
    private let domain: UInt32

    package init(_ guest: FoundGuest) throws(GuestError) {
        domain = guest.domain
        store = try Xenstore(for: guest.name)
        for path in [
            "/libxl/\(domain)/device/vif", "/local/domain/0/backend/vif/\(domain)",
            "/local/domain/\(domain)/device/vif",
        ] {
            try store.watch(path, token: "c")
        }
    }

    /// Readable when something may have changed.
    package var descriptor: Int32 { store.descriptor }

    /// Takes the reason for readiness away.
    /// - Returns: whether something may have changed since the last call.
    package func drain() -> Bool {
        var fired = false
        while store.nextEvent() != nil { fired = true }
        return fired
    }

    /// The cards that there are; nil if xenstored does not answer.
    package func cards() -> [(card: GuestDevices.Card, standing: Standing)]? {
        Self.cards(of: domain, store)
    }

    package static func cards(
        of domain: UInt32,
        _ store: some XenstoreReading
    ) -> [(card: GuestDevices.Card, standing: Standing)]? {
        // Domain 0 is always there: without it nothing was read.
        guard !store.list("/local/domain").isEmpty else { return nil }
        return GuestDevices(of: domain, store).cards.map { ($0, standing(of: $0.device, domain, store)) }
    }

    /// libxl, which destroys a guest's devices before the guest, takes the frontend's directory away, then writes 0 to `online` and 5 to
    /// `state` of the backend's (tools/libs/light/libxl_device.c, libxl__initiate_device_generic_remove); states as in
    /// xen/include/public/io/xenbus.h: 5 closing, 6 closed.
    private static func standing(of device: Int, _ domain: UInt32, _ store: some XenstoreReading) -> Standing
    {
        let card = "/libxl/\(domain)/device/vif/\(device)"
        let frontend = store.read("\(card)/frontend") ?? "/local/domain/\(domain)/device/vif/\(device)"
        guard let state = store.read("\(frontend)/state") else { return .torn }
        let backend = store.read("\(card)/backend") ?? "/local/domain/0/backend/vif/\(domain)/\(device)"
        let ends = [state, store.read("\(backend)/state")]
        return store.read("\(backend)/online") == "0" || ends.contains("5") || ends.contains("6")
            ? .closes : .serves
    }
}
