import FoundationEssentials

/// What a configuration wants done when the guest ends (xl.cfg(5), on_poweroff and its like).
struct EndActions {
    enum Action: Equatable {
        /// Leave the domain as it is.
        case nothing
        case destroy
        /// Make it anew, from its configuration.
        case restart
    }

    private struct Wishes: Decodable {
        var poweroff: String?
        var reboot: String?
        var crash: String?
        var watchdog: String?

        enum CodingKeys: String, CodingKey {
            case poweroff = "on_poweroff"
            case reboot = "on_reboot"
            case crash = "on_crash"
            case watchdog = "on_watchdog"
        }
    }

    private let wishes: Wishes

    /// - Parameter json: libxl's form of the configuration.
    init(json: [UInt8]) {
        wishes =
            (try? JSONDecoder().decode(Wishes.self, from: Data(json.prefix { $0 != 0 }))) ?? Wishes()
    }

    /// - Parameter reason: SHUTDOWN_* (xen/include/public/sched.h), or less than 0 where there is no domain to act on.
    func action(for reason: Int32) -> Action {
        let wish: String?
        switch reason {
        case 0: wish = wishes.poweroff
        case 1: wish = wishes.reboot
        case 3: wish = wishes.crash
        case 4: wish = wishes.watchdog
        // Suspended: it is being protected or saved, and whoever does that looks after it from here on, as with xl.
        default: return .nothing
        }
        // libxl leaves out what has its default, which is to destroy. What would keep a core file or a renamed domain
        // is done without that.
        switch wish ?? "destroy" {
        case "restart", "rename-restart", "coredump-restart", "soft-reset": return .restart
        case "preserve": return .nothing
        default: return .destroy
        }
    }
}
