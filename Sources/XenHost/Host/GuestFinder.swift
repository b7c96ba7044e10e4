import Checkpoint

/// A guest of Xen's, found.
package struct FoundGuest: Equatable, Sendable {
    package let domain: UInt32
    package let uuid: GuestUUID
    package let name: String

    package init(domain: UInt32, uuid: GuestUUID, name: String) {
        self.domain = domain
        self.uuid = uuid
        self.name = name
    }
}

/// Finds a guest by what an operator calls it.
package enum GuestFinder {
    /// The guest that `text` names: a UUID, a domid, or a name.
    /// - Throws: if there is no such guest, or no Xen.
    package static func find(_ text: String) throws(GuestError) -> FoundGuest {
        let hypervisor = try Hypervisor(for: text)
        let store = try Xenstore(for: text)
        return try choose(text, try hypervisor.domains(), store)
    }

    /// The same among `domains`.
    package static func choose(
        _ text: String,
        _ domains: [Domain],
        _ store: some XenstoreReading
    ) throws(GuestError) -> FoundGuest {
        func found(_ domain: Domain) -> FoundGuest {
            let name = store.read("/local/domain/\(domain.id)/name") ?? ""
            return FoundGuest(domain: domain.id, uuid: domain.uuid, name: name)
        }
        let live = domains.filter { $0.state != .gone }
        if let uuid = GuestUUID(text) {
            guard let domain = live.first(where: { $0.uuid == uuid }) else {
                throw GuestError(guest: text, reason: "no guest with this UUID runs here, see xl vm-list")
            }
            return found(domain)
        }
        if let id = UInt32(text) {
            guard id != 0 else {
                throw GuestError(guest: text, reason: "domain 0 is the host itself: it cannot be protected")
            }
            guard let domain = live.first(where: { $0.id == id }) else {
                throw GuestError(guest: text, reason: "there is no domain \(id) here, see xl list")
            }
            return found(domain)
        }
        let named = live.map(found).filter { $0.name == text }
        guard let guest = named.first else {
            throw GuestError(guest: text, reason: "no guest of this name runs here, see xl list")
        }
        guard named.count == 1 else {
            let ids = named.map { "\($0.domain)" }.joined(separator: ", ")
            throw GuestError(guest: text, reason: "domains \(ids) all have this name: give the domid or UUID")
        }
        return guest
    }
}
