import ArgumentParser
import Checkpoint
import Daemon
import Glibc
import SystemSupport

/// `remusd guest stop`
struct GuestStopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop",
        abstract: "Shut an embedded guest down.",
        discussion: """
            A clean shutdown, which ends the guest's protection as planned: its standby drops the image. Returns when \
            the guest is gone. A guest that does not run is none's error.

            EXIT CODES
              0   it does not run any more
              64  the command line makes no sense
              75  it still runs after --timeout
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            """
    )

    @Argument(help: "The guest.", transform: GuestName.argument)
    var name: GuestName

    @Option(help: "How long to wait for its end (default: 10s).", transform: TimeSpan.argument)
    var timeout: TimeSpan = .seconds(10)

    func run() throws {
        let client = ControlClient(path: try Console.paths(for: name).guestSocket(name))
        let end = Clock.monotonic &+ timeout.nanoseconds
        do {
            let reply = try client.post("/v1/stop", timeout: timeout)
            guard reply.status < 400 else {
                throw Console.failure("\(name) refuses to stop (HTTP \(reply.status))", code: Exit.tryAgain)
            }
        } catch ControlClientError.notRunning {
            Console.put("\(name) does not run here: nothing to do\n")
            return
        } catch ControlClientError.brokeOff {
            // It went before its answer did.
        } catch let error as ControlClientError {
            throw Console.failure("\(error)", code: Exit.tryAgain)
        }
        while Clock.monotonic < end {
            do {
                _ = try client.get("/v1/status", timeout: .milliseconds(500))
            } catch ControlClientError.notRunning {
                Console.put("\(name) has stopped\n")
                return
            } catch {}
            usleep(20_000)
        }
        throw Console.failure("\(name) still runs after \(timeout)", code: Exit.tryAgain)
    }
}
