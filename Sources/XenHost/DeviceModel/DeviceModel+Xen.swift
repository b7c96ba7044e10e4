import Checkpoint
import SystemSupport

/// A domain's device model, found through xenstore.
extension DeviceModel {
    /// How long its log of writes may take to be switched, in nanoseconds; the guest runs meanwhile.
    private static let logLimit: UInt64 = 1_000_000_000

    /// The device model of a domain; nil for one that has none (PV, PVH).
    /// - Throws: if it cannot be worked with, with the reason.
    static func find(
        for guest: String,
        _ domain: Domain,
        _ store: some XenstoreReading
    ) throws(GuestError) -> DeviceModel? {
        guard domain.isHVM, store.read("/libxl/\(domain.id)/type") != "pvh" else { return nil }
        if let reason = refusal(of: domain.id, store) { throw GuestError(guest: guest, reason: reason) }
        do throws(QMPError) {
            let model = try DeviceModel(of: domain.id)
            try model.check(until: Clock.monotonic + logLimit)
            return model
        } catch {
            throw GuestError(guest: guest, reason: "its device model cannot be worked with: \(error)")
        }
    }

    /// Why an HVM domain's device model cannot be worked with, as far as xenstore tells.
    package static func refusal(of domain: UInt32, _ store: some XenstoreReading) -> String? {
        // Xen, docs/misc/xenstore-paths (dm-version); libxl, libxl_get_stubdom_id.
        let version = store.read("/libxl/\(domain)/dm-version") ?? "none that is known"
        guard version == "qemu_xen" else {
            return "its device model is \(version): only qemu_xen's state can be had"
        }
        if let owner = store.read("/local/domain/\(domain)/image/device-model-domid"), owner != "0" {
            return "its device model runs in domain \(owner), where its state cannot be had"
        }
        return nil
    }

    /// The same for whoever only puts right what somebody left; nil as well if there is none to talk to.
    static func known(of domain: UInt32, _ store: some XenstoreReading) -> DeviceModel? {
        guard store.read("/libxl/\(domain)/type") == "hvm", refusal(of: domain, store) == nil else {
            return nil
        }
        return try? DeviceModel(of: domain)
    }

    func logWrites(of guest: String) throws(GuestError) {
        do throws(QMPError) {
            try logWrites(true, until: Clock.monotonic + Self.logLimit)
        } catch {
            throw GuestError(guest: guest, reason: "its device model does not log what it writes: \(error)")
        }
    }

    /// One that does not answer keeps its log on, which costs it some calls of Xen's and nobody anything else.
    func endLog() { try? logWrites(false, until: Clock.monotonic + Self.logLimit) }
}
