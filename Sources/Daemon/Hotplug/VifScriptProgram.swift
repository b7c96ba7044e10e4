import Glibc
import NetBuffer
import SystemSupport
import XenHost

/// This program, run by libxl as the script of a network card (`VifScriptLink`).
package enum VifScriptProgram {
    /// Seconds after which it is ended; libxl would do so after 40 (libxl_internal.h, LIBXL_HOTPLUG_TIMEOUT).
    private static let limit: UInt32 = 15

    /// Whether the program was called by the script's name.
    package static func isMeant(by name: String) -> Bool {
        name.split(separator: "/").last.map(String.init) == VifScriptLink.file
    }

    /// Does what libxl asks for. What cannot be done this way, Xen's own script may try: a card that does not get into its bridge
    /// costs a warm image.
    /// - Returns: the exit code.
    package static func run(
        _ arguments: [String],
        environment: (String) -> String? = Paths.environment,
        fallback: String = "/etc/xen/scripts/vif-bridge"
    ) -> Int32 {
        boundTime()
        do {
            try attempt(arguments, environment)
            return 0
        } catch {
            say("\(error)")
            if access(fallback, X_OK) == 0 {
                say("\(fallback) is tried instead")
                alarm(0)
                say("\(ChildProcess.become(fallback, arguments))")
            }
            if XenLibraries.whyNoStore == nil, let store = try? Xenstore(for: name),
                let script = try? VifScript(arguments: arguments, environment: environment)
            {
                script.report(error, store)
            }
            return 1
        }
    }

    private static let name = "network card"

    private static func attempt(_ arguments: [String], _ environment: (String) -> String?) throws {
        let script = try VifScript(arguments: arguments, environment: environment)
        guard script.action != .nothing else { return }
        if let why = XenLibraries.whyNoStore { throw VifScriptError("xenstore cannot be reached: \(why)") }
        try script.perform(try Xenstore(for: name), try NetlinkBridgeKernel())
    }

    /// Whatever it waits for, xenstored or the kernel, it is ended then: nothing is said, and libxl takes that for a failure.
    private static func boundTime() {
        signal(SIGALRM, SIG_DFL)
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGALRM)
        sigprocmask(SIG_UNBLOCK, &set, nil)
        alarm(limit)
    }

    private static func say(_ text: String) {
        let line = Array("\(VifScriptLink.file): \(text)\n".utf8)
        _ = write(2, line, line.count)
    }
}
