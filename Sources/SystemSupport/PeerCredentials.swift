import Glibc

/// Who is at the other end of a unix socket, as the kernel saw it when it connected: struct ucred of unix(7), SO_PEERCRED,
/// field by field.
package struct PeerCredentials: Equatable, Sendable {
    package let pid: Int32
    package let uid: UInt32
    package let gid: UInt32

    /// The option to get at the level SOL_SOCKET.
    package static let option = SO_PEERCRED

    /// This process, as others see it.
    package static var own: PeerCredentials { PeerCredentials(pid: getpid(), uid: geteuid(), gid: getegid()) }
}
