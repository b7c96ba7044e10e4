import Checkpoint
import Glibc

/// A call of Xen's libraries that failed, as an error that names guest, call, reason and remedy.
enum XenFailure {
    /// - Parameters:
    ///   - operation: in words that follow "cannot".
    ///   - code: the errno value.
    static func error(_ guest: String, _ operation: String, _ code: Int32) -> GuestError {
        var reason = "cannot \(operation): \(String(cString: strerror(code)))"
        if let advice = advice(code) { reason += "; \(advice)" }
        return GuestError(guest: guest, reason: reason)
    }

    private static func advice(_ code: Int32) -> String? {
        switch code {
        case EACCES: "Xen refuses this interface: remusd needs the libraries of the running Xen, 4.17"
        case EPERM: "run remusd as root in the control domain"
        case ESRCH, ENOENT: "the domain is gone, see xl list"
        case ENOMEM: "Xen has no memory left for it, see xl info"
        default: nil
        }
    }
}
