import CNetlink
import Glibc

/// A request to the kernel's networking that failed.
package struct NetlinkError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was asked for, as in "cannot …".
    package let action: String
    /// The kernel's errno if positive; libnl's error number, one of NLE_* (netlink/errno.h), if negative.
    package let code: Int32
    /// What the kernel says about it (NLMSGERR_ATTR_MSG of linux/netlink.h), often empty.
    package let detail: String

    package init(_ action: String, code: Int32, detail: String = "") {
        self.action = action
        self.code = code
        self.detail = detail
    }

    package var description: String {
        let reason: UnsafePointer<CChar>? = code < 0 ? nl_geterror(code) : UnsafePointer(strerror(code))
        return "cannot \(action): \(reason.map { String(cString: $0) } ?? "error \(code)")"
            + (detail.isEmpty ? "" : " (\(detail))")
    }

    /// What the request concerned is not there, or not any more.
    package var isAbsence: Bool { code == ENODEV || code == ENOENT || code == ENXIO }
}
