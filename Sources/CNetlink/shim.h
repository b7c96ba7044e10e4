#ifndef CNETLINK_SHIM_H
#define CNETLINK_SHIM_H

// libnl-3 and libnl-route-3 for Swift. Every name that is ours is prefixed CNetlink_.

#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/plug.h>

#endif
