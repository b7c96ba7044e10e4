import Checkpoint
import Glibc
import NetBuffer
import SystemSupport
import XenHost

/// What only guests of Xen's need.
extension Doctor {
    func kernel() -> [Examined] {
        let check = "kernel"
        var needed = ["ifb", "sch_plug", "sch_ingress", "cls_matchall", "act_mirred"]
        if HoldManner.chosen == .copied { needed.append("act_gact") }
        let missing = needed.filter { !hasModule($0) }
        guard missing.isEmpty || knowsModules else {
            let words = "does not say here whether it has \(list(missing)), which hold a Xen guest's output"
            return [Examined(check, host.isXen ? .warn : .ok, words)]
        }
        guard !missing.isEmpty else {
            return [Examined(check, .ok, "has all that holds a Xen guest's output: \(list(needed))")]
        }
        return [
            host.isXen
                ? Examined(check, .fail, "lacks \(list(missing)): the output of Xen guests cannot be held")
                : Examined(check, .ok, "lacks \(list(missing)), which only guests of Xen's need")
        ]
    }

    private func list(_ names: [String]) -> String { names.joined(separator: ", ") }

    /// Loaded, built in, or to be loaded: modules.builtin and modules.dep name files, `kernel/net/sched/sch_plug.ko.xz`.
    private func hasModule(_ name: String) -> Bool {
        if access("\(host.loadedModules)/\(name)", F_OK) == 0 { return true }
        return ["modules.builtin", "modules.dep"].contains { file in
            (SmallFile.read("\(modules)/\(file)") ?? "").split(separator: "\n").contains { line in
                let path = line.prefix { $0 != ":" }
                let base = path.split(separator: "/").last?.prefix { $0 != "." } ?? ""
                return base.replacing("-", with: "_") == name
            }
        }
    }

    private var modules: String { host.modules ?? "/lib/modules/\(Self.kernelRelease)" }
    private var knowsModules: Bool { access("\(modules)/modules.dep", R_OK) == 0 }

    private static var kernelRelease: String {
        SmallFile.read("/proc/sys/kernel/osrelease")?.split(separator: "\n").first.map(String.init) ?? ""
    }

    func xen() -> [Examined] {
        let check = "xen"
        guard host.isXen else { return [Examined(check, .ok, "no Xen here: for embedded guests only")] }
        do throws(GuestError) {
            _ = try Hypervisor(for: "host")
            return [Examined(check, .ok, "Xen 4.17 and its libraries are there, and fit each other")]
        } catch {
            return [Examined(check, .fail, error.reason)]
        }
    }

    func plugs() -> [Examined] {
        let check = "plugs"
        let devices: [PlugSurvey.Device]
        do {
            devices = try PlugSurvey.list()
        } catch {
            return [Examined(check, .warn, "what the kernel holds cannot be seen: \(error)")]
        }
        let living = host.isXen ? OutputKeeping.living() : nil
        var found: [Examined] = []
        for device in devices {
            let isOrphan = !device.hasInterface || living.map { !$0.contains(device.domain) } ?? false
            if isOrphan {
                found.append(
                    Examined(
                        check,
                        .fail,
                        "\(device.name) is left of \(device.interface), which is gone; it holds \(device.heldPackets) packets",
                        fix: "removes it"
                    ) { _ = try OutputKeeping.removeOrphans() }
                )
            } else if device.isRedirected, let guest = unowned(device.domain) {
                found.append(
                    Examined(
                        check,
                        .fail,
                        "\(device.interface) of \(guest) is closed and nobody protects the guest: what it sends stays held; "
                            + "remusd protect \(guest) takes it over, remusd unprotect then opens it"
                    )
                )
            }
            if device.dropped > 0, !isOrphan {
                found.append(
                    Examined(check, .warn, "\(device.name) was full and dropped \(device.dropped) packets")
                )
            }
        }
        return found.isEmpty
            ? [Examined(check, .ok, "\(devices.count) devices, each of a guest that is there")] : found
    }

    /// The name of a guest that runs as a domain and that no process protects; nil if one does, or Xen does not say.
    private func unowned(_ domain: UInt32) -> String? {
        guard host.isXen, let guest = try? GuestFinder.find("\(domain)"), isUnowned(guest) else { return nil }
        return guest.name
    }

    /// Whether nobody has the right to suspend the guest. It is taken for a moment, to see.
    private func isUnowned(_ guest: FoundGuest) -> Bool { (try? GuestLock.take(guest)) != nil }

    /// Guests whose protect died, with nobody to put them right, and others that are suspended: `xl save` and `xl migrate` do that, and
    /// let them run themselves. Xen does not say whether it records a domain's
    /// writes: where it may, that is what `--fix` ends.
    func guests(_ report: StatusReport?) -> [Examined] {
        guard host.isXen else { return [] }
        do throws(GuestError) {
            return guests(report, among: try Hypervisor(for: "host").domains()) { domain in
                guard let guest = try? GuestFinder.find("\(domain.id)"), isUnowned(guest) else { return nil }
                return guest
            }
        } catch {
            return [Examined("guests", .fail, "Xen's domains cannot be listed: \(error.reason)")]
        }
    }

    /// The same among `domains`.
    /// - Parameter unowned: the guest of a domain, if nobody has the right to suspend it.
    func guests(
        _ report: StatusReport?,
        among domains: [Domain],
        unowned: (Domain) -> FoundGuest?
    ) -> [Examined] {
        let check = "guests"
        // One whose guest was activated here since left none of it behind.
        let dead = (report?.statuses ?? []).filter {
            $0.role == .primary && $0.state == .dead && $0.isSucceededHere != true
        }
        let left = Set(dead.map { $0.uuid.lowercased() })
        var found: [Examined] = []
        for domain in domains where domain.state != .gone {
            let isLeft = left.contains(domain.uuid.description.lowercased())
            // NAME--incoming is a guest that runs elsewhere still, as with xl: paused, and a helper's.
            guard domain.state == .suspended || isLeft, let guest = unowned(domain),
                !guest.name.hasSuffix("--incoming")
            else { continue }
            guard isLeft else {
                found.append(
                    Examined(
                        check,
                        .warn,
                        "\(guest.name) is suspended, and no remusd protect that died left it so: by xl save, or a migration?"
                    )
                )
                continue
            }
            let (what, fix): (String, String) =
                switch domain.state {
                case .suspended:
                    ("is SUSPENDED and nobody protects it", "lets it run, and ends the recording")
                case .paused:
                    (
                        "is PAUSED, and its protect died: protect it again, unless somebody else paused it; its writes may be recorded",
                        "ends the recording"
                    )
                default:
                    (
                        "may still have its writes recorded: its protect died",
                        "lets it run, and ends the recording"
                    )
                }
            found.append(
                Examined(check, .fail, "\(guest.name) \(what)", fix: fix) {
                    let lock = try GuestLock.take(guest)
                    defer { withExtendedLifetime(lock) {} }
                    try XenRecovery.repair(domain: domain.id, uuid: domain.uuid, patience: 0)
                }
            )
        }
        return found.isEmpty ? [Examined(check, .ok, "no guest is left suspended")] : found
    }

    /// xendomains starts what is in its folder at each boot, whatever the other host does meanwhile.
    func autostart() -> [Examined] {
        let check = "autostart"
        let folder = autostartFolder ?? host.autostart
        guard Self.path(folder) != Self.path("\(paths.runtime)/auto") else {
            return [
                Examined(check, .ok, "xendomains starts what is in \(folder), which remusd boot-guard fills")
            ]
        }
        let names = Set(knownGuests().values)
        var found: [Examined] = []
        for file in SmallFile.visibleNames(in: folder) {
            let path = "\(folder)/\(file)"
            guard let guest = try? host.nameOf(path), names.contains(guest) else { continue }
            found.append(
                Examined(
                    check,
                    .warn,
                    "\(guest), which remusd knows, is started at boot by \(path), although it may be active elsewhere by then"
                )
            )
        }
        return found.isEmpty
            ? [Examined(check, .ok, "no guest that remusd knows is in \(folder)")] : found
    }

    /// `XENDOMAINS_AUTO=/run/remusd/auto` of a file of shell assignments; the last one counts.
    private var autostartFolder: String? {
        (SmallFile.read(host.autostartSettings) ?? "").split(separator: "\n").compactMap { line -> String? in
            let parts = line.drop { $0.isWhitespace }.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, parts[0] == "XENDOMAINS_AUTO" else { return nil }
            return String(parts[1].filter { !"\"' ".contains($0) })
        }
        .last
    }

    /// Without slashes that mean nothing.
    private static func path(_ text: String) -> [Substring] { text.split(separator: "/") }
}
