import Glibc

/// What is held of a packet.
///
/// A guest's packet comes with the guest's own pages and, until it is freed, keeps one of the 256 transmit slots of its queue
/// (linux drivers/net/xen-netback, zero-copy). A redirection that ends in `pipe` clones the packet first, and the clone of one whose
/// pages are somebody else's is a copy (linux net/core/skbuff.c, skb_clone, skb_orphan_frags): pages and slot go back at once.
package enum HoldManner: String, Sendable {
    /// The packet itself: nothing is copied, and what is held bounds what the guest can send.
    case asIs = "zero-copy"
    /// A copy in the kernel's memory.
    case copied = "copy"

    /// REMUSD_PLUG=zero-copy|copy; copy where it says nothing, or nothing known: it lets twenty times as much of one connection
    /// through (docs/net-buffer.md, "Limits").
    package static let chosen: HoldManner =
        getenv("REMUSD_PLUG").flatMap { HoldManner(rawValue: String(cString: $0)) } ?? .copied
}
