import CNetlink

/// A request to the kernel's networking that failed.
package struct NetlinkError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was asked for, as in "cannot …".
    package let action: String
    /// libnl's error number: negative, one of NLE_* (netlink/errno.h).
    package let code: Int32

    package init(_ action: String, code: Int32) {
        self.action = action
        self.code = code
    }

    package var description: String { "cannot \(action): \(String(cString: nl_geterror(code)))" }
}
