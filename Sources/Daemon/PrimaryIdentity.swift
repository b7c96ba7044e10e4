import Checkpoint
import Glibc
import SystemSupport

/// Who this host and these processes are, for a standby that may be on the same machine.
package struct PrimaryIdentity: Sendable {
    package var host: String
    package var bootID: String
    package var protectProcess: ProcessIdentity
    package var guestProcess: ProcessIdentity

    /// This process and the guest's process `guestPID` (0 if it is none of this machine's).
    package init(guestPID: Int32) {
        host = Self.hostName
        bootID = Self.thisBoot
        protectProcess = Self.identity(getpid())
        guestProcess = Self.identity(guestPID)
    }

    /// This machine's name, as `uname -n` shows it.
    package static var hostName: String {
        var info = utsname()
        guard uname(&info) == 0 else { return "unknown" }
        return withUnsafeBytes(of: &info.nodename) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// Random, made anew with each boot (random(4), /proc/sys/kernel/random/boot_id).
    package static var thisBoot: String {
        String((SmallFile.read("/proc/sys/kernel/random/boot_id") ?? "").prefix { $0 != "\n" })
    }

    private static func identity(_ pid: Int32) -> ProcessIdentity {
        ProcessIdentity(pid: pid, startTime: ProcessHandle.startTime(of: pid) ?? 0)
    }
}
