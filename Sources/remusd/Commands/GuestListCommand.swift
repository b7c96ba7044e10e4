import ArgumentParser
import Checkpoint
import Daemon

/// `remusd guest list`
struct GuestListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the embedded guests that run here.",
        discussion: """
            --output json prints an array of objects with the schema remusd.guest/1: schema, name, uuid, pid, address, \
            memory_bytes, populated_bytes, state, controlled, plug, held_bytes, keys, commands. A guest that died and \
            left its socket has the state "dead".

            EXIT CODES
              0   listed (also when there is none)
              64  the command line makes no sense
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            """
    )

    @Option(help: "text or json.")
    var output: OutputFormat = .text

    func run() throws {
        let paths = try Console.paths()
        let guests = paths.guestsWithGuestSocket().compactMap { try? status(of: $0, paths) }
        if output == .json {
            try Console.put(json: guests)
        } else if guests.isEmpty {
            Console.put("No embedded guest runs here; 'remusd guest run NAME' starts one.\n")
        } else {
            Console.put(EmbeddedGuestText.table(guests))
        }
    }

    private func status(of name: GuestName, _ paths: Paths) throws -> EmbeddedGuestStatus? {
        do {
            let client = ControlClient(path: try paths.guestSocket(name))
            return try client.get("/v1/status", as: EmbeddedGuestStatus.self, timeout: .seconds(2))
        } catch ControlClientError.notRunning(_, stale: false) {
            return nil
        } catch ControlClientError.notRunning, ControlClientError.brokeOff {
            return .unanswered(name.text, state: "dead")
        } catch {
            Console.note("Note: \(error)")
            return .unanswered(name.text, state: "silent")
        }
    }
}
