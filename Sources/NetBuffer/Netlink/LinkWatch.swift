import CNetlink
import Glibc

/// Hears of interfaces that come, change and go (RTM_NEWLINK and RTM_DELLINK, to the group RTNLGRP_LINK of linux/rtnetlink.h).
/// One thread at a time.
package final class LinkWatch {
    private let socket: OpaquePointer
    private let reception: UnsafeMutableRawBufferPointer

    package init() throws(NetlinkError) {
        guard let socket = nl_socket_alloc() else {
            throw NetlinkError("watch the network interfaces", code: -NLE_NOMEM)
        }
        var failure = nl_connect(socket, NETLINK_ROUTE)
        if failure == 0 { failure = nl_socket_add_membership(socket, 1) }  // RTNLGRP_LINK
        guard failure == 0 else {
            nl_socket_free(socket)
            throw NetlinkError("watch the network interfaces", code: failure)
        }
        self.socket = socket
        reception = .allocate(byteCount: 1 << 16, alignment: 8)
    }

    deinit {
        reception.deallocate()
        nl_socket_free(socket)
    }

    /// Readable when something was heard.
    package var descriptor: Int32 { nl_socket_get_fd(socket) }

    /// Takes the reason for readiness away.
    /// - Returns: whether something was heard since the last call.
    package func drain() -> Bool {
        var heard = false
        while true {
            let count = recv(descriptor, reception.baseAddress, reception.count, Int32(MSG_DONTWAIT))
            if count > 0 {
                heard = true
            } else if count < 0, errno == ENOBUFS {
                // More than there was room for.
                heard = true
            } else if count == 0 || errno != EINTR {
                return heard
            }
        }
    }
}
