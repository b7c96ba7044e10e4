import CLinux
import Glibc

/// An IPv4 or IPv6 address with a port, written `127.0.0.1:7070` or `[::1]:7070`.
package struct SocketAddress: Equatable, Hashable, Sendable, CustomStringConvertible {
    /// The numeric host, without brackets.
    package let host: String
    /// The port, 0 to let the kernel choose.
    package let port: UInt16

    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Parses `HOST:PORT`; an IPv6 host stands in brackets. Names are resolved when the address is used.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { return nil }
        self.init(host: String(host), port: port)
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// True for 127.0.0.0/8 in four numbers, ::1 and `localhost`; not for any other name, wherever it leads.
    package var isLoopback: Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let isIPv4 = parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
        return isIPv4 && parts[0] == "127" || host == "::1" || host == "localhost"
    }
}

/// TCP sockets: made, bound, connected.
package enum TCP {
    /// A listener that takes over a dead predecessor's address at once (SO_REUSEADDR, socket(7)).
    package static func listen(on address: SocketAddress, backlog: Int32 = 128) throws(SystemError)
        -> Descriptor
    {
        try withResolved(address, passive: true) { info throws(SystemError) in
            let listener = try open(info)
            try setOption(listener, SOL_SOCKET, SO_REUSEADDR, 1)
            guard bind(listener.raw, info.ai_addr, info.ai_addrlen) == 0,
                Glibc.listen(listener.raw, backlog) == 0
            else { throw SystemError("listen on \(address)") }
            return listener
        }
    }

    /// Whether `listen` would succeed; does not listen.
    package static func checkFree(_ address: SocketAddress) throws(SystemError) {
        try withResolved(address, passive: true) { info throws(SystemError) in
            let probe = try open(info)
            try setOption(probe, SOL_SOCKET, SO_REUSEADDR, 1)
            guard bind(probe.raw, info.ai_addr, info.ai_addrlen) == 0 else {
                throw SystemError("listen on \(address)")
            }
        }
    }

    /// Begins to connect, without waiting for the peer; when the socket is writable, `finishConnecting` says how it went.
    /// A host's name is looked up first, which may take many seconds; an address in numbers is not.
    package static func startConnecting(to address: SocketAddress) throws(SystemError) -> Descriptor {
        try withResolved(address, passive: false) { info throws(SystemError) in
            let socket = try open(info)
            try socket.setNonBlocking(true)
            guard Glibc.connect(socket.raw, info.ai_addr, info.ai_addrlen) == 0 || errno == EINPROGRESS else {
                throw SystemError("connect to \(address)")
            }
            return socket
        }
    }

    /// The outcome of `startConnecting`; the socket stays non-blocking, with TCP_NODELAY.
    package static func finishConnecting(_ socket: Descriptor, to address: SocketAddress) throws(SystemError)
    {
        let failure = try option(socket, SOL_SOCKET, SO_ERROR)
        guard failure == 0 else { throw SystemError("connect to \(address)", code: failure) }
        try setOption(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    }

    /// Connects within `milliseconds`; the socket is blocking, with TCP_NODELAY.
    package static func connect(to address: SocketAddress, milliseconds: Int32) throws(SystemError)
        -> Descriptor
    {
        let socket = try startConnecting(to: address)
        var entry = pollfd(fd: socket.raw, events: Int16(POLLOUT), revents: 0)
        let ready = try retryingInterrupts("connect to \(address)") { Int(poll(&entry, 1, milliseconds)) }
        guard ready > 0 else { throw SystemError("connect to \(address)", code: ETIMEDOUT) }
        try finishConnecting(socket, to: address)
        try socket.setNonBlocking(false)
        return socket
    }

    /// Accepts one connection from a listener; nil if none waits and the listener does not block.
    package static func accept(_ listener: Descriptor) throws(SystemError) -> Descriptor? {
        while true {
            let raw = CLinux_accept4(listener.raw, Int32(SOCK_CLOEXEC.rawValue))
            if raw >= 0 { return Descriptor(owning: raw) }
            switch errno {
            case EINTR, ECONNABORTED: continue
            case EAGAIN: return nil
            default: throw SystemError("accept a connection")
            }
        }
    }

    /// Sets an integer socket option.
    package static func setOption(
        _ socket: Descriptor,
        _ level: Int32,
        _ name: Int32,
        _ value: Int32
    ) throws(SystemError) {
        var value = value
        guard setsockopt(socket.raw, level, name, &value, socklen_t(MemoryLayout<Int32>.size)) == 0 else {
            throw SystemError("set socket option \(name)")
        }
    }

    /// Room for a chunk or more, in bytes, so that writes are few and large (the kernel doubles it: socket(7)).
    private static let room: Int32 = 4 << 20

    /// Room for what is sent, so that the sender need not wait. Only of another kind of socket than TCP: for that the kernel has room as
    /// the connection can carry (tcp(7), `tcp_wmem`), and what waits in more of it would hold back heartbeats on a slow link.
    package static func makeSendRoom(_ socket: Descriptor) throws(SystemError) {
        if try !isTCP(socket) { try setOption(socket, SOL_SOCKET, SO_SNDBUF, room) }
    }

    /// Room for what was received, also beyond the host's `net.core.rmem_max` where that is allowed (CAP_NET_ADMIN: socket(7),
    /// SO_RCVBUFFORCE): the sender need not wait for the reader.
    package static func makeReceiveRoom(_ socket: Descriptor) throws(SystemError) {
        do throws(SystemError) {
            try setOption(socket, SOL_SOCKET, SO_RCVBUFFORCE, room)
        } catch {
            guard error.code == EPERM else { throw error }
            try setOption(socket, SOL_SOCKET, SO_RCVBUF, room)
        }
    }

    /// Whether a socket is one of TCP's, and no other kind of stream.
    static func isTCP(_ socket: Descriptor) throws(SystemError) -> Bool {
        try option(socket, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP
    }

    private static func option(_ socket: Descriptor, _ level: Int32, _ name: Int32) throws(SystemError)
        -> Int32
    {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(socket.raw, level, name, &value, &length) == 0 else {
            throw SystemError("read socket option \(name)")
        }
        return value
    }

    /// The address a socket is bound to (with the port the kernel chose).
    package static func localAddress(of socket: Descriptor) throws(SystemError) -> SocketAddress {
        try address(of: socket) { getsockname($0, $1, $2) }
    }

    /// The address at the other end of a connection.
    package static func remoteAddress(of socket: Descriptor) throws(SystemError) -> SocketAddress {
        try address(of: socket) { getpeername($0, $1, $2) }
    }

    private static func address(
        of socket: Descriptor,
        _ call: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) throws(SystemError) -> SocketAddress {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let found = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(socket.raw, $0, &length) }
        }
        guard found == 0 else { throw SystemError("read a socket's address") }
        var host = [CChar](repeating: 0, count: 64)
        var port: UInt16 = 0
        withUnsafePointer(to: &storage) { pointer in
            if Int32(pointer.pointee.ss_family) == AF_INET {
                pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    var address = $0.pointee.sin_addr
                    inet_ntop(AF_INET, &address, &host, socklen_t(host.count))
                    port = UInt16(bigEndian: $0.pointee.sin_port)
                }
            } else {
                pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    var address = $0.pointee.sin6_addr
                    inet_ntop(AF_INET6, &address, &host, socklen_t(host.count))
                    port = UInt16(bigEndian: $0.pointee.sin6_port)
                }
            }
        }
        let end = host.firstIndex(of: 0) ?? host.count
        return SocketAddress(
            host: String(decoding: host[..<end].map(UInt8.init(bitPattern:)), as: UTF8.self),
            port: port
        )
    }

    /// Whether the host is given in numbers, so that nobody has to be asked.
    package static func isNumeric(_ address: SocketAddress) -> Bool {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address.host, nil, &hints, &list) == 0 else { return false }
        freeaddrinfo(list)
        return true
    }

    /// Every address that a host's name leads to, in numbers, best first. May take many seconds.
    package static func addresses(of address: SocketAddress) throws(SystemError) -> [SocketAddress] {
        var result: [SocketAddress] = []
        try withResolved(address, passive: false) { first throws(SystemError) in
            var info: addrinfo? = first
            while let each = info {
                var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
                let flags = NI_NUMERICHOST | NI_NUMERICSERV
                if getnameinfo(each.ai_addr, each.ai_addrlen, &host, socklen_t(host.count), nil, 0, flags)
                    == 0
                {
                    let bytes = host.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
                    result.append(
                        SocketAddress(host: String(decoding: bytes, as: UTF8.self), port: address.port)
                    )
                }
                info = each.ai_next?.pointee
            }
        }
        return result
    }

    private static func open(_ info: addrinfo) throws(SystemError) -> Descriptor {
        let raw = socket(info.ai_family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw SystemError("create a TCP socket") }
        return Descriptor(owning: raw)
    }

    private static func withResolved<R>(
        _ address: SocketAddress,
        passive: Bool,
        _ body: (addrinfo) throws(SystemError) -> R
    ) throws(SystemError) -> R {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = passive ? AI_PASSIVE : 0
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address.host, String(address.port), &hints, &list) == 0, let list else {
            throw SystemError("resolve host \(address.host)", code: EADDRNOTAVAIL)
        }
        defer { freeaddrinfo(list) }
        return try body(list.pointee)
    }
}
