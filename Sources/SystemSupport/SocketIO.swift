import CLinux
import Glibc

/// Reading and writing a stream socket without waiting, whatever its mode. Allocates nothing unless it throws.
extension Descriptor {
    /// Sends what the kernel takes now.
    /// - Returns: the bytes taken, nil if it takes none now.
    package func sendNow(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Int? {
        let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
        return try Self.outcome(Glibc.send(raw, bytes.baseAddress, bytes.count, flags), "write to the peer")
    }

    /// Sends two pieces, one after the other, in one call.
    /// - Returns: the bytes taken of both together, nil if the kernel takes none now.
    package func sendNow(
        _ first: UnsafeRawBufferPointer,
        _ second: UnsafeRawBufferPointer
    ) throws(SystemError) -> Int? {
        let count = Self.withMessage(
            UnsafeMutableRawBufferPointer(mutating: first),
            UnsafeMutableRawBufferPointer(mutating: second)
        ) { sendmsg(raw, &$0, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) }
        return try Self.outcome(count, "write to the peer")
    }

    /// Reads what is there now.
    /// - Returns: the bytes read, 0 at the end of the stream, nil if nothing is there now.
    package func receiveNow(into target: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int? {
        try Self.outcome(
            recv(raw, target.baseAddress, target.count, Int32(MSG_DONTWAIT)),
            "read from the peer"
        )
    }

    /// Reads what is there now: into the first piece, and when that is full, into the second, in one call.
    /// - Returns: the bytes read into both together, 0 at the end of the stream, nil if nothing is there now.
    package func receiveNow(
        into first: UnsafeMutableRawBufferPointer,
        _ second: UnsafeMutableRawBufferPointer
    ) throws(SystemError) -> Int? {
        let count = Self.withMessage(first, second) { recvmsg(raw, &$0, Int32(MSG_DONTWAIT)) }
        return try Self.outcome(count, "read from the peer")
    }

    private static func withMessage(
        _ first: UnsafeMutableRawBufferPointer,
        _ second: UnsafeMutableRawBufferPointer,
        _ call: (inout msghdr) -> Int
    ) -> Int {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors in
            vectors[0] = iovec(iov_base: first.baseAddress, iov_len: first.count)
            vectors[1] = iovec(iov_base: second.baseAddress, iov_len: second.count)
            var message = msghdr()
            message.msg_iov = vectors.baseAddress
            message.msg_iovlen = 2
            return call(&message)
        }
    }

    /// Ends a connection in both directions, for whoever reads or writes it.
    package func shutDown() { shutdown(raw, Int32(SHUT_RDWR)) }

    private static func outcome(_ count: Int, _ operation: StaticString) throws(SystemError) -> Int? {
        if count >= 0 { return count }
        let code = errno
        if code == EAGAIN || code == EINTR { return nil }
        throw SystemError("\(operation)", code: code)
    }
}
