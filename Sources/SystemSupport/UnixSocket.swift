import CLinux
import Glibc

/// Stream sockets in the file system, which can carry descriptors (unix(7), SCM_RIGHTS).
package enum UnixSocket {
    /// Listens at `path` (mode 0600), taking the place of a dead predecessor's socket file.
    package static func listen(at path: String) throws(SystemError) -> Descriptor {
        let listener = try open()
        unlink(path)
        let bound = try withAddress(path) { bind(listener.raw, $0, $1) }
        guard bound == 0, chmod(path, 0o600) == 0, Glibc.listen(listener.raw, 64) == 0 else {
            throw SystemError("listen at \(path)")
        }
        return listener
    }

    /// Two connected sockets that keep messages apart (SOCK_SEQPACKET), close-on-exec.
    package static func pairOfPacketSockets() throws(SystemError) -> (Descriptor, Descriptor) {
        try pair(SOCK_SEQPACKET)
    }

    /// Two connected sockets, close-on-exec.
    package static func pairOfStreams() throws(SystemError) -> (Descriptor, Descriptor) {
        try pair(SOCK_STREAM)
    }

    private static func pair(_ type: __socket_type) throws(SystemError) -> (Descriptor, Descriptor) {
        var ends: (Int32, Int32) = (-1, -1)
        let made = withUnsafeMutableBytes(of: &ends) { bytes in
            let place = bytes.bindMemory(to: Int32.self).baseAddress
            return socketpair(AF_UNIX, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0, place)
        }
        guard made == 0 else { throw SystemError("create a pair of sockets") }
        return (Descriptor(owning: ends.0), Descriptor(owning: ends.1))
    }

    /// Accepts one connection; nil if none waits and the listener does not block.
    package static func accept(_ listener: Descriptor) throws(SystemError) -> Descriptor? {
        try TCP.accept(listener)
    }

    /// Connects to the socket at `path`.
    /// - Parameter milliseconds: how long to wait for room in the queue of a listener that accepts nothing; nil without
    ///   end. The same limit then holds for everything that is sent.
    package static func connect(to path: String, milliseconds: Int? = nil) throws(SystemError) -> Descriptor {
        let socket = try open()
        if let milliseconds {
            var limit = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
            setsockopt(socket.raw, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        let connected = try withAddress(path) { Glibc.connect(socket.raw, $0, $1) }
        guard connected == 0 else { throw SystemError("connect to \(path)") }
        return socket
    }

    /// Sends `bytes` (at least one) with `descriptors` attached, in one message.
    package static func send(
        _ bytes: [UInt8],
        descriptors: [Descriptor] = [],
        over socket: Descriptor
    ) throws(SystemError) {
        precondition(!bytes.isEmpty && descriptors.count <= 16)
        let raws = descriptors.map(\.raw)
        var done = try retryingInterrupts("send over a unix socket") {
            bytes.withUnsafeBytes { payload in
                raws.withUnsafeBytes { sendOnce(payload, rights: $0, socket) }
            }
        }
        while done < bytes.count {
            done += try retryingInterrupts("send over a unix socket") {
                bytes.withUnsafeBytes {
                    Glibc.send(
                        socket.raw,
                        $0.baseAddress?.advanced(by: done),
                        $0.count - done,
                        Int32(MSG_NOSIGNAL)
                    )
                }
            }
        }
    }

    private static func sendOnce(
        _ payload: UnsafeRawBufferPointer,
        rights: UnsafeRawBufferPointer,
        _ socket: Descriptor
    ) -> Int {
        let header = MemoryLayout<cmsghdr>.size
        let space = (header + rights.count + 7) & ~7
        let control = UnsafeMutableRawBufferPointer.allocate(byteCount: space, alignment: 8)
        defer { control.deallocate() }
        var vector = iovec(
            iov_base: UnsafeMutableRawPointer(mutating: payload.baseAddress),
            iov_len: payload.count
        )
        return withUnsafeMutablePointer(to: &vector) { vector in
            var message = msghdr()
            message.msg_iov = vector
            message.msg_iovlen = 1
            if !rights.isEmpty {
                var first = cmsghdr()
                first.cmsg_len = header + rights.count
                first.cmsg_level = SOL_SOCKET
                first.cmsg_type = Int32(SCM_RIGHTS)
                control.storeBytes(of: first, as: cmsghdr.self)
                UnsafeMutableRawBufferPointer(rebasing: control[header...]).copyMemory(from: rights)
                message.msg_control = control.baseAddress
                message.msg_controllen = space
            }
            return sendmsg(socket.raw, &message, Int32(MSG_NOSIGNAL))
        }
    }

    /// Receives up to `capacity` bytes and the descriptors (close-on-exec) that came with them.
    /// - Returns: no bytes at the end of the stream; nil if nothing waits and the socket does not block.
    package static func receive(
        from socket: Descriptor,
        capacity: Int
    ) throws(SystemError) -> (bytes: [UInt8], descriptors: [Descriptor])? {
        let header = MemoryLayout<cmsghdr>.size
        let control = UnsafeMutableRawBufferPointer.allocate(byteCount: header + 16 * 4, alignment: 8)
        defer { control.deallocate() }
        var bytes = [UInt8](repeating: 0, count: capacity)
        var message = msghdr()
        let received: Int
        do throws(SystemError) {
            received = try retryingInterrupts("receive from a unix socket") {
                bytes.withUnsafeMutableBytes { payload in
                    var vector = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
                    return withUnsafeMutablePointer(to: &vector) { vector in
                        message.msg_iov = vector
                        message.msg_iovlen = 1
                        message.msg_control = control.baseAddress
                        message.msg_controllen = control.count
                        return recvmsg(socket.raw, &message, Int32(MSG_CMSG_CLOEXEC))
                    }
                }
            }
        } catch {
            if error.code == EAGAIN { return nil }
            throw error
        }
        bytes.removeLast(capacity - received)
        var descriptors: [Descriptor] = []
        if message.msg_controllen >= header {
            let first = control.load(as: cmsghdr.self)
            if first.cmsg_level == SOL_SOCKET, first.cmsg_type == Int32(SCM_RIGHTS) {
                for index in 0..<(Int(first.cmsg_len) - header) / 4 {
                    descriptors.append(
                        Descriptor(owning: control.load(fromByteOffset: header + 4 * index, as: Int32.self))
                    )
                }
            }
        }
        return (bytes, descriptors)
    }

    private static func open() throws(SystemError) -> Descriptor {
        let raw = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw SystemError("create a unix socket") }
        return Descriptor(owning: raw)
    }

    private static func withAddress(
        _ path: String,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(SystemError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw SystemError("use socket path \(path) (at most 107 bytes)", code: ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
