import CLinux
import Glibc

/// Tying a process to the one that started it (prctl(2), PR_SET_PDEATHSIG).
package enum ParentDeath {
    /// From here on the kernel kills this process when the thread that started it has ended.
    /// - Returns: false if `parent` has ended already, or never was ours.
    package static func kills(childOf parent: Int32) -> Bool {
        CLinux_prctl(PR_SET_PDEATHSIG, UInt(SIGKILL)) == 0 && getppid() == parent
    }
}
