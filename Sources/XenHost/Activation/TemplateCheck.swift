/// Where a guest, as its primary describes it, does not fit the standby's template of it.
///
/// The template decides what the guest may use here; the primary's configuration is compared with it and never used.
package struct TemplateCheck {
    /// The primary's configuration of the guest.
    let primary: DomainConfiguration
    /// The template's, as xl reads it.
    let template: DomainConfiguration
    /// The template's path, for people.
    let path: String

    package init(primary: DomainConfiguration, template: DomainConfiguration, path: String) {
        self.primary = primary
        self.template = template
        self.path = path
    }

    /// Every difference that keeps the guest's memory and state from running in a domain made after the template.
    package var mismatches: [String] {
        var found: [String] = []
        compare("type", primary.type, template.type, "type =", &found)
        compare("most vcpus", primary.vcpus, template.vcpus, "vcpus = or maxvcpus =", &found)
        compare(
            "most memory in MiB",
            primary.memoryKiB.map(Self.mebibytes),
            template.memoryKiB.map(Self.mebibytes),
            "memory = or maxmem =",
            &found
        )
        compareInterfaces(&found)
        compareDisks(&found)
        return found
    }

    private static func mebibytes(_ kib: UInt64) -> String {
        kib % 1024 == 0 ? "\(kib / 1024)" : "\(Double(kib) / 1024)"
    }

    private func compare<T: Equatable>(
        _ what: String,
        _ theirs: T?,
        _ ours: T?,
        _ key: String,
        _ found: inout [String]
    ) {
        guard theirs != ours else { return }
        func text(_ value: T?) -> String { value.map { "\($0)" } ?? "not said" }
        found.append(
            "\(what): \(text(theirs)) at the primary, \(text(ours)) in \(path); set \(key) there to the primary's value"
        )
    }

    private func compareInterfaces(_ found: inout [String]) {
        let theirs = primary.interfaces
        let ours = template.interfaces
        guard theirs.count == ours.count else {
            found.append(
                "network interfaces: \(theirs.count) at the primary, \(ours.count) in \(path); list as many under vif = there"
            )
            return
        }
        for (number, (their, our)) in zip(theirs, ours).enumerated() {
            let wanted = their.mac?.lowercased() ?? "unknown"
            guard let mac = our.mac?.lowercased() else {
                found.append(
                    "vif \(number): \(path) gives it no MAC, so that it would get another one; write mac=\(wanted) there"
                )
                continue
            }
            if mac != wanted {
                found.append(
                    "vif \(number): MAC \(wanted) at the primary, \(mac) in \(path); clients know the primary's"
                )
            }
        }
    }

    private func compareDisks(_ found: inout [String]) {
        let theirs = Set(primary.disks.compactMap(\.vdev))
        let ours = Set(template.disks.compactMap(\.vdev))
        for disk in theirs.subtracting(ours).sorted() {
            found.append("disk \(disk): the guest uses it, and \(path) has none of that name")
        }
        for disk in ours.subtracting(theirs).sorted() {
            found.append("disk \(disk): in \(path), but unknown to the guest as it runs at the primary")
        }
    }
}
