import Checkpoint
import SystemSupport
import XenHost

/// Looks at this host as an operator would, and says what is wrong. Looking changes nothing.
package struct Doctor {
    /// A finding, and how it is mended if a program can do that.
    struct Examined {
        var finding: DoctorFinding
        var mend: (() throws -> Void)?

        init(
            _ check: String,
            _ level: DoctorFinding.Level,
            _ message: String,
            fix: String? = nil,
            mend: (() throws -> Void)? = nil
        ) {
            finding = DoctorFinding(check, level, message, fix: fix)
            self.mend = mend
        }
    }

    let paths: Paths
    let host: DoctorHost

    package init(paths: Paths, host: DoctorHost = DoctorHost()) {
        self.paths = paths
        self.host = host
    }

    /// All checks, one after the other.
    /// - Parameter fixing: mends what a program can mend.
    package func examine(fixing: Bool = false) -> DoctorReport {
        let statuses = try? StatusCollector(paths: paths).collect()
        let examined =
            directories() + processes(statuses) + contact(statuses) + records() + kernel() + xen() + plugs()
            + guests(statuses) + autostart()
        return DoctorReport(examined.map { fixing ? Self.mended($0) : $0.finding })
    }

    private static func mended(_ examined: Examined) -> DoctorFinding {
        var finding = examined.finding
        guard let mend = examined.mend else { return finding }
        do {
            try mend()
            finding.level = .ok
            finding.fixed = true
        } catch {
            finding.message += "; mending it failed: \(error)"
        }
        return finding
    }
}

/// Where the host keeps what is looked at.
package struct DoctorHost: Sendable {
    /// What xendomains starts at boot, unless its settings name another folder (XENDOMAINS_AUTO).
    package var autostart = "/etc/xen/auto"
    package var autostartSettings = "/etc/default/xendomains"
    /// Loaded and built-in modules that have something to say, a folder each.
    package var loadedModules = "/sys/module"
    /// The running kernel's modules; nil for what uname says.
    package var modules: String?
    /// Says `control_d` in Xen's control domain.
    package var capabilities = "/proc/xen/capabilities"
    /// The name that an xl configuration gives its guest.
    package var nameOf: @Sendable (_ path: String) throws -> String = {
        try XlProgram().name(configuration: $0)
    }

    package init() {}

    var isXen: Bool { (SmallFile.read(capabilities) ?? "").contains("control_d") }
}
