import CXen
import SystemSupport

/// What the child process does: libxenguest's sender, from start to end.
package enum SaveProgram {
    /// Saves a domain over the inherited descriptors (`SaveProcess`) until the parent says no more, and dies with it.
    /// - Parameter parent: the process number of who started this one.
    /// - Returns: the exit code: 0 when it ended as told.
    package static func run(domid: UInt32, parent: Int32) -> Int32 {
        guard ParentDeath.kills(childOf: parent) else { return 1 }
        return CXen_save_remus(domid, SaveProcess.streamNumber, SaveProcess.controlNumber)
    }
}
