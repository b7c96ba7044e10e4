import SystemSupport

/// Who said something to a process of remusd's: what is known of the process that did.
package struct Speaker: Codable, Equatable, Sendable {
    package var pid: Int32
    /// The user it ran as.
    package var uid: UInt32
    /// As whom its user logged in, whatever su or sudo made of that (/proc/PID/loginuid, proc(5)); nil where nobody did.
    package var loginUID: UInt32?
    /// Who called sudo, as its environment says.
    package var sudoUser: String?

    /// A process that is still there, or was a moment ago.
    package init(_ process: PeerCredentials) {
        pid = process.pid
        uid = process.uid
        let text = SmallFile.read("/proc/\(pid)/loginuid")
        loginUID = text.flatMap { UInt32($0.filter { !$0.isWhitespace }) }.flatMap { $0 == .max ? nil : $0 }
        let variables = (SmallFile.readBytes("/proc/\(pid)/environ") ?? []).split(separator: 0)
        let name = Array("SUDO_USER=".utf8)
        sudoUser = variables.first { $0.starts(with: name) }
            .map { String(decoding: $0.dropFirst(name.count).prefix(64), as: UTF8.self) }
    }

    package enum CodingKeys: String, CodingKey {
        case pid, uid
        case loginUID = "login_uid"
        case sudoUser = "sudo_user"
    }
}

extension ControlRequest {
    /// Who asks; nil where the kernel does not say.
    package var speaker: Speaker? { peer.map { Speaker($0) } }
}
