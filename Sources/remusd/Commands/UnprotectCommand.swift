import ArgumentParser
import Checkpoint
import Daemon

/// `remusd unprotect`
struct UnprotectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unprotect",
        abstract: "End a guest's protection as planned; the guest runs on.",
        discussion: """
            To be run on the primary's host. Protection has ended when the standby has said that it dropped its image: \
            until then the guest's output stays held, because a standby that does not know could still activate it. \
            Asking again is harmless; a guest that is not protected is none's error.

            EXIT CODES
              0   protection has ended, or there was none
              64  the command line makes no sense
              69  'remusd protect' has died: says what became of the guest, and what to do
              75  the standby has not answered yet: try again
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            """
    )

    @Argument(help: "The guest.", transform: GuestName.argument)
    var name: GuestName

    @Option(help: "How long to wait for the standby's answer (default: 1m).", transform: TimeSpan.argument)
    var timeout: TimeSpan = .seconds(60)

    func run() throws {
        let paths = try Console.paths(for: name)
        let client = ControlClient(path: try paths.primarySocket(name))
        let reply: UnprotectReply
        do {
            reply = try client.post("/v1/unprotect", as: UnprotectReply.self, timeout: timeout)
        } catch ControlClientError.notRunning(_, stale: false) {
            Console.put("\(name) is not protected here: nothing to do\n")
            return
        } catch ControlClientError.notRunning(_, stale: true) {
            // What became of the guest decides what helps.
            let statuses = try StatusCollector(paths: paths).collect(name).statuses
            let reasons = statuses.first { $0.role == .primary }?.reasons ?? []
            throw Console.failure(
                "protection of \(name) cannot be ended now, and its standby may still have an image\n"
                    + reasons.map { "  ! \($0)" }.joined(separator: "\n"),
                code: Exit.unavailable
            )
        } catch let error as ControlClientError {
            throw Console.failure(
                "\(error); it may still end: see 'remusd status \(name)'",
                code: Exit.tryAgain
            )
        } catch {
            throw Console.failure("\(error)", code: Exit.tryAgain)
        }
        let peer = reply.peer.map { ", standby: \($0)" } ?? ""
        if let message = reply.message { Console.note(message) }
        switch reply.outcome {
        case .ended: Console.put("\(name) is no longer protected\(peer)\n")
        case .alone:
            Console.put("\(name) is no longer protected and runs alone: its standby gave no answer\(peer)\n")
        case .pending:
            throw Console.failure(
                "the standby of \(name) has not answered yet; output stays held",
                code: Exit.tryAgain
            )
        }
    }
}
