#ifndef CNETLINK_SHIM_H
#define CNETLINK_SHIM_H

// libnl-3 and libnl-route-3 for Swift. Every name that is ours is prefixed CNetlink_.

#include <linux/if_packet.h>
#include <netlink/netlink.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <netlink/route/act/gact.h>
#include <netlink/route/act/mirred.h>
#include <netlink/route/action.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/matchall.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/plug.h>
#include <netlink/route/tc.h>
#include <sys/socket.h>

// ---- struct sockaddr_ll is not in Swift's Glibc module.

/// Binds a packet socket to a device, for sending.
static inline int CNetlink_bind_packet(int socket, int device) {
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = device};
    return bind(socket, (const struct sockaddr *)&address, sizeof address);
}

#endif
