import CXen
import Checkpoint
import Glibc
import SystemSupport
import XenStream

/// A guest of Xen's as `remusd protect` sees it: the native engine.
///
/// Calls come from one thread. Nothing is mapped, and log-dirty is off, before `startDirtyTracking`. When the object goes the
/// guest runs, log-dirty is off, and nothing of it stays mapped.
package final class XenGuest: ProtectedGuest {
    package let description: GuestDescription
    package let domain: UInt32
    /// What it may get (`memory/static-max` in xenstore, KiB).
    package let ramPages: Int
    package let holesAreRAM = false

    let hypervisor: Hypervisor
    let suspension: GuestSuspension
    let dirtyLog: DirtyLog
    private let store: Xenstore
    private let ownPause: GuestPause
    /// Of an HVM guest; a PVH guest has none.
    private let deviceModel: DeviceModel?
    private var deviceLogIsOn = false
    /// The same suspending, with the device model.
    private let together: HVMSuspension?
    private let pages: any GuestPages
    private let state: any GuestStateReader
    /// Pages to be sent although Xen's bitmap does not have them.
    private var extra: PageBitmap
    /// How often everything is still to be collected as dirty, each time while the guest runs, with an epoch in between.
    private var sweepsOwed = 0
    private var sweepIsDue = false
    /// Its pages of RAM, as of the last look at all of them.
    private var scannedPages: Int?
    private var isReleased = false

    /// Takes hold of a guest that runs here, without touching its work.
    /// - Parameter maxPause: how long a device model may take, in a pause, for its state.
    /// - Throws: if it cannot be protected, with the reason.
    package init(_ found: FoundGuest, config: [UInt8], maxPause: TimeSpan) throws(GuestError) {
        let hypervisor = try Hypervisor(for: found.name)
        let store = try Xenstore(for: found.name)
        guard let domain = try hypervisor.domain(found.domain), domain.uuid == found.uuid else {
            throw GuestError(guest: found.name, reason: "it is gone, see xl list")
        }
        self.hypervisor = hypervisor
        self.domain = domain.id
        self.store = store
        ownPause = GuestPause(of: domain.id, hypervisor, store)
        deviceModel = try DeviceModel.find(for: found.name, domain, store)
        if domain.isHVM {
            var frames: UInt64 = 0
            try hypervisor.check(
                "ask how many frames it has",
                CXen_domain_frames(hypervisor.raw, domain.id, &frames)
            )
            pages = try HVMPages(hypervisor, domain: domain.id, pageCount: Int(frames))
            state = try HVMState(hypervisor, domain: domain.id)
        } else {
            let frames = try PVFrames(hypervisor, domain)
            pages = try PVPages(hypervisor, frames, domain: domain.id)
            state = try PVState(hypervisor, frames, domain)
        }
        let pageCount = pages.pageCount
        let mostKiB = store.read("/local/domain/\(domain.id)/memory/static-max").flatMap { Int($0) } ?? 0
        // Some more: special pages, and such as went and are due all the same.
        ramPages = min(pageCount, max(domain.pages, mostKiB / 4) + 1024)
        dirtyLog = try DirtyLog(hypervisor, domain: domain.id, pageCount: pageCount)
        suspension = try GuestSuspension(
            hypervisor,
            store,
            domain: domain.id,
            isEmulated: deviceModel != nil
        )
        together =
            if let deviceModel {
                try HVMSuspension(suspension, deviceModel, guest: found.name, maxPause: maxPause)
            } else { nil }
        extra = PageBitmap(pageCount: pageCount)
        description = GuestDescription(
            name: found.name,
            uuid: found.uuid,
            kind: domain.isHVM ? .hvm : .pv,
            pageCount: pageCount,
            address: "",
            config: config
        )
        try noticeChanges()
    }

    deinit { letGo() }

    /// Waits, for a bounded time, for a guest that has read a request to suspend.
    package func letGo() {
        guard !isReleased else { return }
        isReleased = true
        whole.settle(within: 5_000_000_000)
        stopDirtyTracking()
        pages.dropAll()
    }

    /// All of the guest that is suspended and goes on together.
    private var whole: any DomainSuspension { together ?? suspension }

    /// Whether it has a device model.
    package var hasDeviceModel: Bool { deviceModel != nil }

    // MARK: Ends

    package var eventDescriptor: Int32 { whole.eventDescriptor }

    package func ended() -> GuestEnd? {
        guard let end = whole.checkEnd() else { return nil }
        // What is mapped would keep a dead domain's memory, and its name, from going.
        pages.dropAll()
        return end
    }

    /// Nothing of a guest that ended may be mapped again.
    private func requireLife() throws(GuestError) {
        guard suspension.end == nil, !isReleased else {
            throw GuestError(guest: description.name, reason: "it runs no more")
        }
    }

    // MARK: Dirty pages

    package func startDirtyTracking() throws(GuestError) {
        // The device model first: what it writes before Xen's log is on is sent with everything else.
        try deviceModel?.logWrites(of: description.name)
        deviceLogIsOn = deviceModel != nil
        try dirtyLog.start()
        suspension.trackingRestarted()
        (sweepsOwed, sweepIsDue) = (0, false)
        extra.removeAll()
    }

    package func stopDirtyTracking() {
        dirtyLog.stop()
        if deviceLogIsOn { deviceModel?.endLog() }
        deviceLogIsOn = false
    }

    package func collectDirty(into bitmap: inout PageBitmap) throws(GuestError) {
        try requireLife()
        try together?.requireSaved()
        let isSuspended = suspension.isSuspended
        try noticeChanges()
        if sweepIsDue, isSuspended {
            throw GuestError(
                guest: description.name,
                reason: "its memory target changed; all of its memory is sent first, while it runs"
            )
        }
        if isSuspended { pages.copier.pauseBegins() }
        let reading = try dirtyLog.read(into: &bitmap, isFinal: isSuspended)
        // A Linux that suspends writes: a bitmap without a bit is one that somebody switched off.
        if reading == .lost || suspension.isVoid || isSuspended && reading == .none {
            let reason =
                suspension.isVoid
                ? "another tool suspended it, and may have read or switched off Xen's record of what it wrote"
                : "Xen's record of what it wrote is \(reading == .lost ? "incomplete" : "empty: it was switched off")"
            throw GuestError(guest: description.name, reason: reason, voidsTracking: true)
        }
        if sweepIsDue {
            sweepIsDue = false
            sweepsOwed -= 1
            pages.collectPresent(into: &bitmap)
        }
        if isSuspended { try pages.refresh(bitmap, &extra) }
        bitmap.formUnion(extra)
        extra.removeAll()
    }

    package func dirtyCount() -> Int? { suspension.end == nil && !isReleased ? dirtyLog.count : nil }

    /// Looks whether its memory became more, less, or other.
    private func noticeChanges() throws(GuestError) {
        let targetChanged = suspension.takeTargetChange()
        guard let now = try hypervisor.domain(domain) else { return }
        if now.isHVM {
            var frames: UInt64 = 0
            try hypervisor.check(
                "ask how many frames it has",
                CXen_domain_frames(hypervisor.raw, domain, &frames)
            )
            guard frames <= UInt64(pages.pageCount) else {
                throw GuestError(
                    guest: description.name,
                    reason: "its memory reaches further than when protection began (\(frames) frames, then "
                        + "\(pages.pageCount)): unprotect it and protect it again"
                )
            }
        }
        // A frame that goes and another that comes at the same place, between two looks, would not be seen: a new target
        // makes everything dirty, now and, since the guest may follow it late, once more. A PV guest's own table tells.
        if targetChanged, now.isHVM { (sweepsOwed, sweepIsDue) = (2, true) }
        if targetChanged || now.pages != scannedPages {
            pages.dropMappings()
            try pages.rescan(total: now.pages, &extra)
            scannedPages = now.pages
        }
    }

    package func collectPopulated(into bitmap: inout PageBitmap) throws(GuestError) {
        try requireLife()
        try noticeChanges()
        pages.collectPresent(into: &bitmap)
    }

    package func copyPages(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer
    ) throws(GuestError) -> Int {
        try requireLife()
        return try pages.copy(
            pfns,
            types: types,
            into: contents,
            isSuspended: suspension.isSuspended,
            later: &extra
        )
    }

    // MARK: Suspending

    package func wantsSweep() throws(GuestError) -> Bool {
        try requireLife()
        try noticeChanges()
        return sweepIsDue
    }

    package func requestSuspend() throws(GuestError) {
        // While the guest runs and nothing waits for us: what changed without being written is looked for.
        if dirtyLog.isOn { try pages.rescanSlice(&extra) }
        pages.copier.pauseComes()
        try whole.request()
    }

    package func suspendOutcome() throws(GuestError) -> SuspendOutcome? { try whole.outcome() }
    package func cancelSuspend() { whole.cancel() }
    package func resume() throws(GuestError) {
        try whole.resume()
        pages.copier.pauseEnds()
        sweepIsDue = sweepsOwed > 0
    }
    package func standStill() throws(GuestError) {
        try requireLife()
        try ownPause.begin()
    }
    package func runAgain() throws(GuestError) {
        guard ownPause.isNoted else { return }
        // What a dead predecessor had asked of it may come only now.
        suspension.expectPredecessorStill()
        try ownPause.end()
    }
    package var suspendedSince: Instant? { together?.suspendedSince }

    // MARK: State

    package var stateCapacity: Int {
        state.capacity + (deviceModel == nil ? 0 : DeviceModel.longestState + 2 * DeviceModelKeys.longest)
    }

    package func writeStatic(into writer: inout StreamWriter) throws(GuestError) {
        try state.writeStatic(into: &writer)
    }

    package func writeState(into writer: inout StreamWriter) throws(GuestError) {
        try requireLife()
        try state.writeState(into: &writer)
        // Whoever resumed it meanwhile (another tool) has torn this checkpoint.
        guard try hypervisor.domain(domain)?.state == .suspended else {
            throw GuestError(
                guest: description.name,
                reason: "somebody else resumed it while it was being copied"
            )
        }
    }

    package func writeDeviceModel(into writer: inout StreamWriter) throws(GuestError) {
        guard let deviceModel else { return }
        guard let keys = DeviceModelKeys.content(of: domain, store) else {
            throw GuestError(
                guest: description.name,
                reason: "its device model has more in xenstore than \(DeviceModelKeys.longest) bytes"
            )
        }
        if !keys.isEmpty {
            keys.withUnsafeBytes { writer.appendEmulator(.emulatorXenstoreData, content: $0) }
        }
        writer.appendEmulator(.emulatorContext, content: deviceModel.state)
    }
}
