import Checkpoint
import XenHost

/// What `remusd protect` was told to protect: `web1`, a domid or a UUID for a guest of Xen's, `embedded:web1` for one without.
package enum GuestReference: Equatable, Sendable, CustomStringConvertible {
    case embedded(GuestName)
    /// A name, domid or UUID.
    case xen(String)

    /// Parses `embedded:NAME`, `xen:GUEST` or `GUEST`.
    package init(_ text: String) throws(ValueError) {
        if text.hasPrefix("embedded:") {
            self = .embedded(try GuestName(String(text.dropFirst("embedded:".count))))
            return
        }
        let guest = text.hasPrefix("xen:") ? String(text.dropFirst("xen:".count)) : text
        // UUIDs and domids have the form of names too.
        self = .xen(try GuestName(guest).text)
    }

    package var description: String {
        switch self {
        case .embedded(let name): "embedded:\(name)"
        case .xen(let guest): guest
        }
    }

    /// Finds the guest.
    /// - Throws: if none of Xen's is called so, or there is no Xen.
    package func find() throws -> GuestTarget {
        switch self {
        case .embedded(let name): return .embedded(name)
        case .xen(let text):
            let found = try GuestFinder.find(text)
            return .xen(try GuestName(found.name), found)
        }
    }
}

/// A guest that was found.
package enum GuestTarget: Equatable, Sendable {
    case embedded(GuestName)
    case xen(GuestName, FoundGuest)

    /// What its files and sockets are called by.
    package var name: GuestName {
        switch self {
        case .embedded(let name), .xen(let name, _): name
        }
    }
}
