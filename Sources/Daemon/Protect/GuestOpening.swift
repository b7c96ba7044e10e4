import Checkpoint
import EmbeddedHost
import SystemSupport
import XenHost

/// A guest and its output in our hands, with what `status` says of them.
struct OpenedGuest {
    let guest: any ProtectedGuest
    let output: any OutputBuffer
    /// How its written pages are found.
    let tracking: String
    /// Who reads its memory and state, if there is a choice.
    var engine: EngineChoice?
    /// The guest's process, 0 if it is none.
    var pid: Int32 = 0
    /// Nobody else of this host's takes hold of it meanwhile.
    var lock: FileLock?
    /// What is not protected although the guest is, for people.
    var caveats: [String] = []
    /// What the log is to say of it from the start.
    var warnings: [String] = []

    /// Takes hold of a guest that runs here, without touching its work.
    init(_ target: GuestTarget, _ options: ProtectOptions, paths: Paths) throws {
        switch target {
        case .embedded(let name):
            let handle = try EmbeddedGuest(
                name: name.description,
                runtimeDirectory: paths.runtime,
                tracking: try DirtyTracking.choice(guest: name.description)
            )
            guest = handle
            output = handle.output
            tracking = handle.trackingMethod.rawValue
            pid = handle.pid
        case .xen(_, let found):
            let lock = try GuestLock.take(found)
            self.lock = lock
            let config = try DomainConfig.current(found)
            let disks = options.unreplicatedDisks
            let devices = try GuestRefusals.check(found, config: config, accepted: disks)
            try XenRecovery.repair(domain: found.domain, uuid: found.uuid, patience: 0)
            let native = try XenGuest(found, config: config, maxPause: options.settings.maxPause)
            if native.hasDeviceModel {
                guard options.engine == .native else {
                    throw GuestError(
                        guest: found.name,
                        reason: "it is an HVM guest with a device model: only --engine native protects it"
                    )
                }
                warnings.append(
                    "HVM guests with a device model have never been protected on real Xen: this one may be lost, or end, by it"
                )
            }
            guest =
                switch options.engine {
                case .native: native
                case .libxenguest:
                    try LibxenguestGuest(native) { try SaveProcess(domid: native.domain, lock: lock) }
                }
            engine = options.engine
            caveats = disks.map { "NOT PROTECTED: disk \($0), which nobody replicates" }
            for name in (try? OutputKeeping.removeOrphans()) ?? [] {
                warnings.append("removed \(name), which held the output of a guest that is gone")
            }
            output = try XenOutput(found, devices.cards, interval: options.settings.pace.most)
            tracking = "log-dirty"
            GuestKeeping.start(found, logs: paths.runtime)
        }
    }
}
