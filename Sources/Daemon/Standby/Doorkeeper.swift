import Checkpoint
import Glibc
import Synchronization
import SystemSupport

/// The connections whose peers are not known yet. They are few, in all and from each address; one too many turns out the
/// oldest of them, so that nobody keeps a known host out by coming first. Sessions are not counted here.
package final class Doorkeeper: Sendable {
    /// Most that wait from one address (of IPv6: one /64), and from all addresses that no host was known at.
    package static let fromOneAddress = 8, inAll = 32
    /// The same from an address that a host was known at: its guests may all come back at once.
    static let fromKnownAddress = 64
    /// Threads in all, those of the turned-out that have not ended yet included.
    static let threads = 128
    /// Addresses that are remembered.
    static let addresses = 64

    private struct Visitor {
        let source: String
        let socket: Descriptor
    }

    private struct State {
        var waiting: [ConnectionID: Visitor] = [:]
        /// Turned out, and not gone yet.
        var leaving: Set<ConnectionID> = []
        /// Newest last.
        var known: [String] = []
    }

    private let state = Mutex(State())

    package init() {}

    /// Lets a connection wait for its handshake.
    /// - Parameters:
    ///   - id: rises from one to the next.
    ///   - host: the address it comes from, without port.
    /// - Returns: false if there is no room at all: close it unheard.
    package func admit(_ socket: Descriptor, id: ConnectionID, from host: String) -> Bool {
        let source = Self.group(host)
        return state.withLock { state in
            guard state.waiting.count + state.leaving.count < Self.threads else { return false }
            let isKnown = state.known.contains(source)
            let limit = isKnown ? Self.fromKnownAddress : Self.fromOneAddress
            let same = state.waiting.filter { $0.value.source == source }
            if same.count >= limit, let oldest = same.keys.min() {
                Self.turnOut(oldest, &state)
            } else if !isKnown {
                let strangers = state.waiting.filter { !state.known.contains($0.value.source) }
                if strangers.count >= Self.inAll, let oldest = strangers.keys.min() {
                    Self.turnOut(oldest, &state)
                }
            }
            state.waiting[id] = Visitor(source: source, socket: socket)
            return true
        }
    }

    /// Who it is has been found out: it is counted no more.
    /// - Parameter authenticated: by its key, which makes its address one that hosts come from.
    /// - Returns: false if it was turned out.
    package func passed(_ id: ConnectionID, authenticated: Bool) -> Bool {
        state.withLock { state in
            guard let visitor = state.waiting.removeValue(forKey: id) else { return false }
            if authenticated {
                state.known.removeAll { $0 == visitor.source }
                state.known.append(visitor.source)
                if state.known.count > Self.addresses { state.known.removeFirst() }
            }
            return true
        }
    }

    /// Its thread ends.
    package func left(_ id: ConnectionID) {
        state.withLock { state in
            state.waiting[id] = nil
            state.leaving.remove(id)
        }
    }

    /// How many wait.
    package var waiting: Int { state.withLock { $0.waiting.count } }

    private static func turnOut(_ id: ConnectionID, _ state: inout State) {
        guard let visitor = state.waiting.removeValue(forKey: id) else { return }
        state.leaving.insert(id)
        visitor.socket.shutDown()
    }

    /// An IPv4 address; the first 64 bits of an IPv6 one, which is what one machine has at least.
    static func group(_ host: String) -> String {
        var address = in6_addr()
        guard inet_pton(AF_INET6, host, &address) == 1 else { return host }
        return withUnsafeBytes(of: &address) { bytes in
            // ::ffff:a.b.c.d is an IPv4 address (RFC 4291, 2.5.5.2).
            let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
            return isMapped ? host : bytes[..<8].map { String($0, radix: 16) }.joined(separator: ".")
        }
    }
}
