import CLinux
import Glibc

/// What the kernel knows of a TCP connection, read in one call (TCP_INFO, tcp(7)).
package struct TCPInfo: Equatable, Sendable {
    /// Segments, and probes of a closed window, that were sent, or could not even be, and that the peer's kernel has not
    /// acknowledged.
    package var unacknowledged: UInt32
    /// Bytes that were written to the socket and not sent yet: the link, or the peer's window, does not let them.
    package var unsentBytes: UInt32
    /// Milliseconds since the peer's kernel was heard of: any segment, data or not, that acknowledges.
    package var sinceAcknowledgement: UInt32
    /// Milliseconds since data of the peer's came, whether it was read or not.
    package var sinceData: UInt32

    /// - Returns: nil for what is no TCP connection.
    package init?(of raw: Int32) {
        var info = CLinux_tcp_info()
        var length = socklen_t(MemoryLayout<CLinux_tcp_info>.size)
        guard getsockopt(raw, Int32(IPPROTO_TCP), Int32(TCP_INFO), &info, &length) == 0,
            length >= MemoryLayout<CLinux_tcp_info>.size
        else { return nil }
        unacknowledged = info.unacked + UInt32(info.probes)
        unsentBytes = info.notsent_bytes
        sinceAcknowledgement = info.last_ack_recv
        sinceData = info.last_data_recv
    }
}

extension TCP {
    /// Bytes that were written to a connection and that the peer's kernel has not acknowledged (SIOCOUTQ, tcp(7)).
    /// - Returns: 0 for another kind of socket, and once the connection has ended.
    package static func unacknowledgedBytes(_ socket: Descriptor) -> Int {
        var bytes: Int32 = 0
        // Elsewhere it counts memory, not bytes (unix(7)).
        guard (try? isTCP(socket)) == true, CLinux_unacknowledged(socket.raw, &bytes) == 0 else { return 0 }
        return Int(bytes)
    }

    /// Longest time that sent data may stay unacknowledged, or a closed window closed, before the kernel ends the connection
    /// with ETIMEDOUT (TCP_USER_TIMEOUT, tcp(7)); its own default is a quarter of an hour. Nothing is done to another
    /// kind of socket.
    package static func limitUnacknowledged(_ raw: Int32, milliseconds: Int32) {
        var value = milliseconds
        setsockopt(
            raw,
            Int32(IPPROTO_TCP),
            Int32(TCP_USER_TIMEOUT),
            &value,
            socklen_t(MemoryLayout<Int32>.size)
        )
    }
}
