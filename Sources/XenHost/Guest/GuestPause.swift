import CXen
import Checkpoint
import Glibc

/// What a pause asks of Xen.
package protocol DomainPausing {
    /// Xen counts: it runs once it was unpaused as often.
    func pause(_ domain: UInt32) throws(GuestError)
    /// - Returns: false if it was not paused.
    func unpause(_ domain: UInt32) throws(GuestError) -> Bool
    func life(of domain: UInt32) throws(GuestError) -> LifeState
}

extension Hypervisor: DomainPausing {
    package func pause(_ domain: UInt32) throws(GuestError) {
        try check("pause domain \(domain)", CXen_domain_pause(raw, domain))
    }

    package func unpause(_ domain: UInt32) throws(GuestError) -> Bool {
        let code = CXen_domain_unpause(raw, domain)
        if code == EINVAL { return false }
        try check("unpause domain \(domain)", code)
        return true
    }

    package func life(of domain: UInt32) throws(GuestError) -> LifeState {
        try self.domain(domain)?.state ?? .gone
    }
}

/// remusd's own pause of a domain, one of those that Xen counts: whoever paused it besides (`xl pause`) takes that back himself.
///
/// It outlasts the process that made it, and is known to the next one by a note in xenstore, where the guest cannot write and which goes
/// with the domain. The note is there before the pause, and until after it: whoever dies between the two leaves one that is taken for
/// a pause. That undoes somebody else's pause, if there is one just then, and no more.
package struct GuestPause {
    private static let on = "1", off = "0"

    private let domain: UInt32
    private let xen: any DomainPausing
    private let store: any XenstoreWriting
    private let path: String

    package init(of domain: UInt32, _ xen: any DomainPausing, _ store: any XenstoreWriting) {
        self.domain = domain
        self.xen = xen
        self.store = store
        path = "/local/domain/\(domain)/remusd-pause"
    }

    /// It is paused by remusd, as far as is noted.
    package var isNoted: Bool { store.read(path) == Self.on }

    /// Pauses the guest, unless that is done.
    package func begin() throws(GuestError) {
        let wasNoted = isNoted
        // Noted and running: whoever noted it died before it was done, or somebody took it back.
        if wasNoted, try xen.life(of: domain) != .running { return }
        if !wasNoted { try store.write(path, Self.on) }
        try xen.pause(domain)
    }

    /// Takes that back, whoever of remusd's did it.
    package func end() throws(GuestError) {
        guard isNoted else { return }
        _ = try xen.unpause(domain)
        try store.write(path, Self.off)
    }
}
