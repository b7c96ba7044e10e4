import CXen
import Checkpoint
import Glibc

/// Everything that is asked before a guest is touched.
package enum GuestRefusals {
    /// Checks a guest.
    /// - Parameters:
    ///   - accepted: `--unreplicated-disks`
    /// - Returns: its devices.
    /// - Throws: all the reasons why it cannot be protected.
    package static func check(
        _ found: FoundGuest,
        config: [UInt8],
        accepted: [String]
    ) throws(GuestError) -> GuestDevices {
        let hypervisor = try Hypervisor(for: found.name)
        let devices = GuestDevices(of: found.domain, try Xenstore(for: found.name))
        var reasons = devices.refusals(accepted: accepted)
        reasons += features(named: config)
        guard let domain = try hypervisor.domain(found.domain), domain.uuid == found.uuid else {
            throw GuestError(guest: found.name, reason: "it is gone, see xl list")
        }
        let vnuma = CXen_domain_vnuma(hypervisor.raw, domain.id)
        if vnuma == 0 { reasons.append("it has virtual NUMA nodes, which no stream describes") }
        if domain.isHVM {
            var missing: UInt64 = 0
            let code = CXen_domain_unpopulated(hypervisor.raw, domain.id, &missing)
            if code == 0, missing > 0 {
                reasons.append(
                    "\(missing) of its pages are populated on demand only: give it all its memory first"
                )
            }
        }
        if !domain.isHVM {
            var canTrack = false
            try hypervisor.check("ask Xen what it can do", CXen_has_shadow(hypervisor.raw, &canTrack))
            if !canTrack {
                reasons.append(
                    "this Xen is built without shadow paging (xl info: virt_caps), and so cannot track what a PV guest writes"
                )
            }
        }
        guard reasons.isEmpty else {
            throw GuestError(
                guest: found.name,
                reason: "it cannot be protected: " + reasons.joined(separator: "; ")
            )
        }
        return devices
    }

    /// What only the configuration tells.
    package static func features(named config: [UInt8]) -> [String] {
        let build = JSONValue(config)?["b_info"]
        // libxl has moved it out of its part for HVM guests (libxl_types.idl, libxl_domain_build_info).
        let nested = [build?["nested_hvm"], build?["type.hvm"]?["nested_hvm"]].contains {
            $0 == .bool(true) || $0 == .string("True")
        }
        return nested ? ["it may run guests of its own, whose state no stream describes"] : []
    }
}
